package target

import (
	"fmt"
	"io"
	"testing"
	"time"

	"sango/internal/block/blocktest"
	"sango/internal/iscsi"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/san"
)

// BenchmarkSession keeps a number of commands in flight on one session over
// loopback: what the engine itself costs, and the sockets. device=null has no
// volume to copy from or to.
func BenchmarkSession(b *testing.B) {
	for _, op := range []string{"read", "write"} {
		for _, c := range []sessionCase{
			{size: 4 << 10, depth: 1, null: true},
			{size: 4 << 10, depth: 32, null: true},
			{size: 4 << 10, depth: 32, null: true, digest: true},
			{size: 4 << 10, depth: 1},
			{size: 4 << 10, depth: 32},
			{size: 64 << 10, depth: 1},
			{size: 64 << 10, depth: 32},
		} {
			device, digest := "mem", "none"
			if c.null {
				device = "null"
			}
			if c.digest {
				digest = "data"
			}
			name := fmt.Sprintf("op=%s/size=%dk/depth=%d/device=%s/digest=%s", op, c.size>>10, c.depth, device, digest)
			b.Run(name, func(b *testing.B) { c.run(b, op == "write") })
		}
	}
}

type sessionCase struct {
	size, depth int
	null        bool // the unit is over a device that does nothing
	digest      bool // of the data
}

func (c sessionCase) run(b *testing.B, write bool) {
	s := start(b, func(cfg *Config, d *directory) {
		cfg.NopInterval = time.Hour // no ping among the replies
		if c.null {
			d.target = nullTarget(b)
		}
	})
	keys := []iscsi.Pair{{Key: iscsi.KeyMaxRecvSegment, Value: "262144"}}
	if c.digest {
		keys = append(keys, iscsi.Pair{Key: iscsi.KeyDataDigest, Value: "CRC32C"})
	}
	i := connect(b, s, keys...)
	i.ready()
	cmd := command{cdb: read10(0, c.size/512), read: true, expected: uint32(c.size)}
	reply := iscsi.BHSLen + c.size
	if c.digest {
		reply += iscsi.DigestLen
	}
	if write {
		cmd = command{cdb: write10(0, c.size/512), write: true, expected: uint32(c.size), data: make([]byte, c.size)}
		reply = iscsi.BHSLen
	}
	r := newRound(i, cmd, c.depth, reply)
	b.SetBytes(int64(c.size))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%c.depth == 0 {
			r.run(b)
		}
	}
}

// nullTarget is a target whose LUN 0 does nothing.
func nullTarget(b *testing.B) *lun.Target {
	v := san.Volume{ID: san.NewUUID(), Name: "null", Driver: "null", Size: 64 << 20, BlockSize: 512, PhysicalBlock: 4096, NAA: 0x0123456789abcdf}
	u, err := lun.NewUnit(v, blocktest.NewNull(v.Size), &luntest.Store{}, lun.UnitOptions{})
	if err != nil {
		b.Fatal(err)
	}
	t := lun.NewTarget(targetName, lun.TargetOptions{})
	t.SetMap(map[san.LUN]lun.MapEntry{0: {Unit: u}})
	// Cleaned up after the server, whose start called this.
	b.Cleanup(func() {
		t.SetMap(nil)
		if err := u.Close(); err != nil {
			b.Error(err)
		}
	})
	return t
}

// round is a number of equal commands that are sent at once, over and over.
type round struct {
	i       *initiator
	pdus    []byte
	headers []int // offsets in pdus
	replies []byte
}

// newRound makes depth commands of c, each of which is answered by reply bytes.
func newRound(i *initiator, c command, depth, reply int) *round {
	r := &round{i: i, replies: make([]byte, depth*reply)}
	for range depth {
		h := i.commandHeader(c)
		i.cmdSN--
		r.headers = append(r.headers, len(r.pdus))
		r.pdus = append(r.pdus, i.wire(&h, c.data)...)
	}
	return r
}

// run sends the commands and waits for all the answers.
func (r *round) run(t testing.TB) {
	for n, o := range r.headers {
		put32(r.pdus[o+16:], uint32(n+1))
		put32(r.pdus[o+24:], uint32(r.i.cmdSN))
		r.i.cmdSN++
	}
	if _, err := r.i.nc.Write(r.pdus); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.i.nc, r.replies); err != nil {
		t.Fatal(err)
	}
}

func put32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}
