package blocktest

import (
	"math"

	"sango/internal/block"
)

func newReadsZeros(e *env) {
	d, _ := e.open(volume)
	info := d.Info()
	if info.Size != volume || info.BlockSize != e.bs {
		e.Fatalf("asked for %d bytes in blocks of %d, got %d in %d", int64(volume), e.bs, info.Size, info.BlockSize)
	}
	e.expect(d, 0, make([]byte, volume))
}

func writeRead(e *env) {
	d, _ := e.open(volume)
	bs := int64(e.bs)
	// One block, across 64 KiB, a large one, the first and the last block.
	for i, r := range [][2]int64{{5 * bs, bs}, {64<<10 - bs, 2 * bs}, {1 << 20, 1 << 20}, {0, bs}, {volume - bs, bs}} {
		p := pattern(int(r[1]), byte(i))
		e.must(block.WriteAt(d, p, r[0], 0))
		e.expect(d, r[0], p)
	}
	e.expect(d, 6*bs, make([]byte, bs))
	e.expect(d, 4*bs, make([]byte, bs))
	p := pattern(e.bs, 77)
	e.must(block.WriteAt(d, p, 1<<20+bs, 0))
	e.expect(d, 1<<20+bs, p)
	e.expect(d, 1<<20, pattern(1<<20, 2)[:e.bs])
}

func vectors(e *env) {
	d, _ := e.open(volume)
	p := pattern(4*e.bs, 9)
	// Odd cuts, an empty slice in between, one byte alone.
	cut := func(b []byte) [][]byte {
		return [][]byte{b[:1], b[1:1], b[1 : e.bs+3], b[e.bs+3 : 4*e.bs-7], b[4*e.bs-7:]}
	}
	off := int64(64<<10 - e.bs)
	e.must(block.Do(d, block.OpWrite, 0, off, int64(len(p)), cut(p)...))
	e.expect(d, off, p)
	got := make([]byte, len(p))
	e.must(block.Do(d, block.OpRead, 0, off, int64(len(p)), cut(got)...))
	if string(got) != string(p) {
		e.Error("a read into an uneven vector is not what was written")
	}
	many := make([][]byte, 0, 3000) // more than IOV_MAX
	long := pattern(3000*e.bs/512*512/512*512, 4)
	long = long[:len(long)/e.bs*e.bs]
	for i := 0; i < len(long); i += 512 {
		many = append(many, long[i:i+512])
	}
	if int64(len(long)) <= volume {
		e.must(block.Do(d, block.OpWrite, 0, 0, int64(len(long)), many...))
		e.expect(d, 0, long)
	}
}

func bounds(e *env) {
	d, _ := e.open(volume)
	bs := int64(e.bs)
	ranges := []struct {
		name   string
		off, n int64
	}{
		{"past the end", volume, bs},
		{"across the end", volume - bs, 2 * bs},
		{"far past the end", volume * 1000, bs},
		{"before the start", -bs, bs},
		{"offset that overflows", math.MaxInt64 / bs * bs, bs},
		{"misaligned offset", 1, bs},
		{"misaligned length", 0, bs - 1},
		{"half a block", bs / 2, bs / 2},
	}
	for _, op := range []block.Op{block.OpRead, block.OpWrite, block.OpDiscard, block.OpWriteZeroes} {
		for _, r := range ranges {
			var bufs [][]byte
			if op == block.OpRead || op == block.OpWrite {
				bufs = [][]byte{make([]byte, r.n)}
			}
			err := block.Do(d, op, 0, r.off, r.n, bufs...)
			e.refused(err, block.Invalid, op.String()+" "+r.name)
		}
	}
	for _, op := range []block.Op{block.OpDiscard, block.OpWriteZeroes} {
		e.refused(block.Do(d, op, 0, bs, math.MaxInt64/bs*bs), block.Invalid, "length that overflows")
		e.refused(block.Do(d, op, 0, 0, -bs), block.Invalid, "negative length")
	}
	e.expect(d, 0, make([]byte, volume))
}

func shape(e *env) {
	d, _ := e.open(volume)
	bs := int64(e.bs)
	e.refused(block.Do(d, 99, 0, 0, bs), block.Unsupported, "unknown operation")
	e.refused(block.Do(d, 0, 0, 0, bs), block.Unsupported, "no operation")
	e.refused(block.Do(d, block.OpWrite, 0, 0, 2*bs, make([]byte, bs)), block.Invalid, "write with too little data")
	e.refused(block.Do(d, block.OpRead, 0, 0, bs, make([]byte, 2*bs)), block.Invalid, "read with too much room")
	e.refused(block.Do(d, block.OpFlush, 0, 0, bs), block.Invalid, "flush of a range")
	e.refused(block.Do(d, block.OpRead, block.FUA, 0, bs, make([]byte, bs)), block.Invalid, "read with FUA")
}

func zeroLength(e *env) {
	d, _ := e.open(volume)
	for _, op := range []block.Op{block.OpRead, block.OpWrite, block.OpDiscard, block.OpWriteZeroes} {
		for _, off := range []int64{0, int64(e.bs), volume} {
			e.must(block.Do(d, op, 0, off, 0))
		}
	}
	e.expect(d, 0, make([]byte, volume))
}

func flush(e *env) {
	d, _ := e.open(volume)
	e.must(block.Flush(d))
	p := pattern(e.bs, 1)
	e.must(block.WriteAt(d, p, 0, 0))
	e.must(block.Flush(d))
	e.must(block.Flush(d))
	e.expect(d, 0, p)
}

func fua(e *env) {
	d, _ := e.open(volume)
	if d.Info().Caps.FUA == block.None {
		e.refused(block.WriteAt(d, pattern(e.bs, 1), 0, block.FUA), block.Unsupported, "write with FUA")
		return
	}
	p := pattern(e.bs*3, 1)
	e.must(block.WriteAt(d, p, int64(e.bs), block.FUA))
	e.expect(d, int64(e.bs), p)
	if d.Info().Caps.WriteZeroes != block.None {
		e.must(block.Do(d, block.OpWriteZeroes, block.FUA, int64(e.bs), int64(e.bs)))
		e.expect(d, int64(e.bs), append(make([]byte, e.bs), p[e.bs:]...))
	}
	if d.Info().Caps.Discard != block.None {
		e.must(block.Do(d, block.OpDiscard, block.FUA, 0, volume))
		e.expect(d, 0, make([]byte, volume))
	}
}

// noWait: each request either works as without the flag, or ends with
// WouldBlock and without effect.
func noWait(e *env) {
	d, _ := e.open(volume)
	p := pattern(e.bs*8, 3)
	off := int64(128<<10 - e.bs)
	switch err := block.WriteAt(d, p, off, block.NoWait); block.ClassOf(err) {
	case 0:
	case block.WouldBlock:
		e.expect(d, off, make([]byte, len(p)))
		e.must(block.WriteAt(d, p, off, 0))
	default:
		e.Fatal(err)
	}
	e.expect(d, off, p)
	got := make([]byte, len(p))
	switch err := block.Do(d, block.OpRead, block.NoWait, off, int64(len(got)), got); block.ClassOf(err) {
	case 0:
		if string(got) != string(p) {
			e.Error("a read with NoWait is not what was written")
		}
	case block.WouldBlock:
	default:
		e.Fatal(err)
	}
	for _, op := range []block.Op{block.OpFlush, block.OpDiscard, block.OpWriteZeroes} {
		n := int64(e.bs)
		if op == block.OpFlush {
			n = 0
		}
		err := block.Do(d, op, block.NoWait, 0, n)
		if c := block.ClassOf(err); c != 0 && c != block.WouldBlock && c != block.Unsupported {
			e.Errorf("%s with NoWait: %v", op, err)
		}
	}
	err := block.WriteAt(d, p, volume, block.NoWait)
	if c := block.ClassOf(err); c != block.Invalid && c != block.WouldBlock {
		e.Errorf("write with NoWait past the end: %v", err)
	}
}

func atomicWrites(e *env) {
	d, _ := e.open(volume)
	most := d.Info().Caps.AtomicMax
	if most == 0 {
		e.refused(block.WriteAt(d, pattern(e.bs, 1), 0, block.Atomic), block.Unsupported, "atomic write")
		return
	}
	n := min(most, volume/2)
	p := pattern(int(n), 8)
	e.must(block.WriteAt(d, p, int64(e.bs), block.Atomic))
	e.expect(d, int64(e.bs), p)
	if d.Info().Caps.FUA != block.None {
		e.must(block.WriteAt(d, p[:e.bs], 0, block.Atomic|block.FUA))
		e.expect(d, 0, p[:e.bs])
	}
	if most < volume {
		err := block.WriteAt(d, make([]byte, most+int64(e.bs)), 0, block.Atomic)
		e.refused(err, block.Invalid, "atomic write past the maximum")
	}
	e.refused(block.Do(d, block.OpWriteZeroes, block.Atomic, 0, int64(e.bs)), block.Invalid, "write-zeroes with Atomic")
}
