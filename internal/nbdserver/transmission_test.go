package nbdserver

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/block/mem"
	"sango/internal/nbd"
)

func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>9) ^ byte(i) ^ seed | 1
	}
	return b
}

func TestReadBackWhatWasWritten(t *testing.T) {
	w := serve(t, Options{})
	w.add("", block.Check(memory(t, mem.Options{}), t), ExportOptions{})
	for name, c := range map[string]*client{"structured": w.connect(""), "simple": w.simple("")} {
		t.Run(name, func(t *testing.T) {
			for i, n := range []int{512, 4096, 64 << 10, 1<<20 + 512, 5 << 20} {
				p := pattern(n, byte(i))
				c.ok(nbd.CmdWrite, nbd.CmdFlagFUA, 512, uint32(n), p)
				if a := c.ok(nbd.CmdRead, 0, 512, uint32(n), nil); !bytes.Equal(a.data, p) || a.holes != 0 {
					t.Errorf("%d bytes came back different", n)
				}
			}
			c.ok(nbd.CmdFlush, 0, 0, 0, nil)
			c.ok(nbd.CmdCache, 0, 0, 4096, nil)
			c.ok(nbd.CmdRead, 0, 0, 0, nil)
		})
	}
}

func TestHolesAreSentAsHoles(t *testing.T) {
	w := serve(t, Options{})
	w.add("", memory(t, mem.Options{}), ExportOptions{})
	c := w.connect("")
	p := pattern(64<<10, 3)
	c.ok(nbd.CmdWrite, 0, 128<<10, 64<<10, p)
	a := c.ok(nbd.CmdRead, 0, 0, 512<<10, nil)
	if a.chunks != 3 || a.holes != 448<<10 || !bytes.Equal(a.data[128<<10:192<<10], p) {
		t.Errorf("%d chunks, %d bytes of holes", a.chunks, a.holes)
	}
	if a := c.ok(nbd.CmdRead, nbd.CmdFlagDF, 0, 512<<10, nil); a.chunks != 1 || a.holes != 0 {
		t.Errorf("with DF: %d chunks, %d bytes of holes", a.chunks, a.holes)
	}
	if a := c.ok(nbd.CmdRead, 0, 8<<20, 512, nil); a.chunks != 1 || a.holes != 512 {
		t.Errorf("an empty block: %d chunks, %d bytes of holes", a.chunks, a.holes)
	}
}

func TestBlockStatus(t *testing.T) {
	w := serve(t, Options{})
	d := memory(t, mem.Options{Size: 8 << 30})
	w.add("", d, ExportOptions{})
	c := w.connect("")
	c.ok(nbd.CmdWrite, 0, 4096, 4096, pattern(4096, 1))
	c.ok(nbd.CmdWriteZeroes, nbd.CmdFlagNoHole, 16384, 4096, nil)
	c.ok(nbd.CmdWriteZeroes, 0, 6144, 1024, nil)
	const hole = nbd.StateHole | nbd.StateZero
	want := []nbd.Extent{{Length: 4096, Flags: hole}, {Length: 2048}, {Length: 1024, Flags: hole}, {Length: 1024}, {Length: 8192, Flags: hole}, {Length: 4096}, {Length: 4096, Flags: hole}}
	if diff := cmp.Diff(nbd.BlockStatus{Context: allocationID, Extents: want}, c.ok(nbd.CmdBlockStatus, 0, 0, 24576, nil).status); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[:1], c.ok(nbd.CmdBlockStatus, nbd.CmdFlagReqOne, 0, 24576, nil).status.Extents); diff != "" {
		t.Error(diff)
	}
	c.ok(nbd.CmdTrim, 0, 0, 24576, nil)
	if diff := cmp.Diff([]nbd.Extent{{Length: 1<<32 - 4096, Flags: hole}}, c.ok(nbd.CmdBlockStatus, 0, 0, 1<<32-512, nil).status.Extents); diff != "" {
		t.Error(diff)
	}
	w.simple("").fails(nbd.EINVAL, nbd.CmdBlockStatus, 0, 0, 4096, nil)
}

// TestManyRequestsTogether keeps more requests under way than the limits allow
// at a time, and compares what is read with a model.
func TestManyRequestsTogether(t *testing.T) {
	for name, o := range map[string]delay.Options{"at once": {}, "later": {Latency: map[block.Op]time.Duration{
		block.OpRead: 50 * time.Microsecond, block.OpWrite: 100 * time.Microsecond,
	}}} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, Options{Depth: 16, ConnMemory: 1, MaxRequest: 64 << 10})
			d := block.Device(memory(t, mem.Options{Size: 1 << 20}))
			if o.Latency != nil {
				d = delay.New(d, o)
			}
			w.add("", block.Check(d, t), ExportOptions{})
			manyTogether(t, w.connect(""))
		})
	}
}

func manyTogether(t *testing.T, c *client) {
	model := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var out []byte
		reads := map[uint64][]byte{}
		// Every request has a slot of its own, so that any order gives the same.
		slots := rng.Perm(64)
		for _, slot := range slots {
			off, size := slot*16<<10, (rng.IntN(32)+1)*512
			c.cookie++
			r := nbd.Request{Cookie: c.cookie, Offset: uint64(off), Length: uint32(size)}
			if rng.IntN(2) == 0 {
				p := pattern(size, byte(rng.Int()))
				copy(model[off:], p)
				r.Cmd = nbd.CmdWrite
				out = append(r.Append(out), p...)
				continue
			}
			r.Cmd, r.Flags = nbd.CmdRead, nbd.CmdFlagDF
			out = r.Append(out)
			reads[c.cookie] = model[off : off+size]
		}
		sent := make(chan error, 1)
		go func() {
			_, err := c.nc.Write(out)
			sent <- err
		}()
		c.collect(t, len(slots), reads)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

// collect reads n replies and compares the reads with what they should be.
func (c *client) collect(t *testing.T, n int, reads map[uint64][]byte) {
	t.Helper()
	for range n {
		magic := c.read(4)
		if bytes.Equal(magic, []byte{0x67, 0x44, 0x66, 0x98}) {
			r, err := nbd.ParseSimpleReply(append(magic, c.read(nbd.SimpleReplyLen-4)...))
			if err != nil || r.Err != 0 {
				t.Fatal(err, r.Err)
			}
			continue
		}
		h, err := nbd.ParseChunk(append(magic, c.read(nbd.ChunkLen-4)...))
		if err != nil || h.Type != nbd.ChunkOffsetData {
			t.Fatal(err, h.Type)
		}
		if p := c.read(int(h.Length)); !bytes.Equal(p[nbd.OffsetLen:], reads[h.Cookie]) {
			t.Fatal("a read differs")
		}
	}
}
