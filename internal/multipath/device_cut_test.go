package multipath

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"sango/internal/block"
	"sango/internal/scsi"
)

// lazyTarget executes CDBs on bytes as the standards allow a target to: it
// unmaps whole granules only, and ignores what is less.
type lazyTarget struct {
	t    *testing.T
	s    *shape
	disk []byte
}

// run executes the command of p. What comes back of a read goes to p's
// buffers.
func (x *lazyTarget) run(p *piece) {
	x.t.Helper()
	c, bs := &p.cmd.CDB, int64(x.s.block)
	var out []byte
	for _, b := range p.cmd.Out {
		out = append(out, b...)
	}
	if op := scsi.Op(c); op == scsi.OpUnmap {
		l, cc := scsi.ParseUnmapList(out)
		if cc != nil || int(scsi.ParseUnmap(c).Length) != len(out) {
			x.t.Fatalf("UNMAP: %v, list % x", cc, out)
		}
		for i := range l.Len() {
			x.unmap(int64(l.At(i).LBA)*bs, int64(l.At(i).Blocks)*bs)
		}
		return
	}
	b := scsi.ParseBlocks(c)
	off, n := int64(b.LBA)*bs, int64(b.Blocks)*bs
	if n == 0 || off+n > int64(len(x.disk)) {
		x.t.Fatalf("%v of [%d, %d)", scsi.Op(c), off, off+n)
	}
	switch scsi.Op(c) {
	case scsi.OpRead16, scsi.OpRead10:
		d := x.disk[off : off+n]
		for _, v := range p.cmd.In {
			d = d[copy(v, d):]
		}
		x.limit(n, x.s.maxTransfer)
	case scsi.OpWrite16, scsi.OpWrite10, scsi.OpWriteAtomic16:
		if int64(len(out)) != n {
			x.t.Fatalf("WRITE of %d bytes came with %d", n, len(out))
		}
		copy(x.disk[off:], out)
		x.limit(n, x.s.maxTransfer)
	case scsi.OpWriteSame16:
		if b.NoData != (len(out) == 0) || !b.NoData && len(out) != x.s.block {
			x.t.Fatalf("WRITE SAME with %d bytes of data, NDOB %v", len(out), b.NoData)
		}
		clear(x.disk[off : off+n])
		x.limit(n, x.s.maxSame)
	default:
		x.t.Fatalf("unexpected %v", scsi.Op(c))
	}
	if x.s.ten == (scsi.Op(c).CDBLen() == 16) {
		x.t.Errorf("%v to a target that wants the other form", scsi.Op(c))
	}
}

func (x *lazyTarget) limit(n, most int64) {
	if n > most {
		x.t.Errorf("a command of %d bytes, at most %d are served", n, most)
	}
}

func (x *lazyTarget) unmap(off, n int64) {
	x.limit(n, x.s.maxUnmap)
	if x.s.exact {
		clear(x.disk[off : off+n])
		return
	}
	for at := off; at < off+n; at += int64(x.s.block) {
		first := at - ((at-x.s.alignment)%x.s.granule+x.s.granule)%x.s.granule
		if first >= off && first+x.s.granule <= off+n {
			clear(x.disk[at : at+int64(x.s.block)])
		}
	}
}

// Requests of any range come out as commands that keep to the limits and do
// what was asked, whatever a target serves.
func TestCutting(t *testing.T) {
	const size = 1 << 20
	base := shape{size: size, block: 512, physical: 512, maxTransfer: 20 << 10, maxSame: 24 << 10, maxUnmap: 48 << 10, granule: 512}
	for name, change := range map[string]func(*shape){
		"ours": func(s *shape) {
			s.same, s.noData, s.unmaps, s.discard, s.exact, s.granule = true, true, true, byUnmap, true, 4096
		},
		"no NDOB":          func(s *shape) { s.same, s.unmaps, s.discard = true, true, bySame },
		"UNMAP only":       func(s *shape) { s.discard, s.granule, s.alignment = byUnmap, 8192, 1024 },
		"UNMAP, SAME":      func(s *shape) { s.discard, s.granule, s.alignment, s.same = byUnmap, 16384, 512, true },
		"ten bytes":        func(s *shape) { s.ten = true },
		"4096-byte blocks": func(s *shape) { s.block, s.physical, s.granule, s.same = 4096, 4096, 4096, true },
	} {
		t.Run(name, func(t *testing.T) {
			s := base
			change(&s)
			x := &lazyTarget{t: t, s: &s, disk: make([]byte, size)}
			model := make([]byte, size)
			rng := rand.New(rand.NewPCG(1, 2))
			j := newJob().(*job)
			for range 400 {
				bs := int64(s.block)
				off := rng.Int64N(size/bs) * bs
				n := (1 + rng.Int64N(min((size-off)/bs, 300<<10/bs))) * bs
				r := &block.Request{Op: []block.Op{block.OpRead, block.OpWrite, block.OpWriteZeroes, block.OpDiscard}[rng.IntN(4)], Off: off, Len: n}
				if r.Op == block.OpDiscard && s.discard == noDiscard {
					continue
				}
				data := make([]byte, n)
				if r.Op == block.OpRead || r.Op == block.OpWrite {
					k := rng.Int64N(n + 1)
					r.Bufs = [][]byte{data[:k], {}, data[k:]}
				}
				switch r.Op {
				case block.OpWrite:
					for i := range data {
						data[i] = byte(rng.Uint32())
					}
					copy(model[off:], data)
				case block.OpWriteZeroes, block.OpDiscard:
					clear(model[off : off+n])
				}
				if r.Op == block.OpWriteZeroes && rng.IntN(2) == 0 {
					r.Flags = block.MayUnmap
				}
				for at := off; at < off+n; {
					k := j.first.cut(r, &s, at, off+n)
					if k <= 0 {
						t.Fatalf("a piece of %d bytes", k)
					}
					x.run(&j.first)
					at += k
				}
				if r.Op == block.OpRead && !bytes.Equal(data, model[off:off+n]) {
					t.Fatalf("%v of %d bytes at %d: other data", r.Op, n, off)
				}
				if !bytes.Equal(x.disk, model) {
					t.Fatalf("after %v of %d bytes at %d the disk is not as it should be", r.Op, n, off)
				}
			}
		})
	}
}
