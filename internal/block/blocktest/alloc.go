package blocktest

import "sango/internal/block"

func discard(e *env) {
	d, _ := e.open(volume)
	caps := d.Info().Caps
	if caps.Discard == block.None {
		e.refused(block.Do(d, block.OpDiscard, 0, 0, int64(e.bs)), block.Unsupported, "discard")
		return
	}
	p := pattern(volume, 6)
	e.must(block.WriteAt(d, p, 0, 0))
	bs := int64(e.bs)
	// A block in the middle, across 64 KiB, the first and the last one.
	for _, r := range [][2]int64{{7 * bs, bs}, {64<<10 - bs, 3 * bs}, {0, bs}, {volume - bs, bs}, {1 << 20, 1 << 20}} {
		e.must(block.Do(d, block.OpDiscard, 0, r[0], r[1]))
		clear(p[r[0] : r[0]+r[1]])
		e.expect(d, 0, p)
	}
	if caps.Discard == block.Native {
		e.deallocated(d, 1<<20, 1<<20)
	}
	e.must(block.Do(d, block.OpDiscard, 0, 0, volume))
	e.expect(d, 0, make([]byte, volume))
	if caps.Discard == block.Native {
		e.deallocated(d, 0, volume)
	}
	e.must(block.Do(d, block.OpDiscard, 0, 0, volume))
	q := pattern(e.bs, 200)
	e.must(block.WriteAt(d, q, 9*bs, 0))
	e.expect(d, 9*bs, q)
	e.expect(d, 8*bs, make([]byte, bs))
}

// deallocated asserts that all of [off, off+n) takes no space.
func (e *env) deallocated(d block.Device, off, n int64) {
	e.Helper()
	ext, err := d.Status(off, n, 16)
	e.must(err)
	if len(ext) != 1 || ext[0].Alloc != block.Deallocated || ext[0].Len != n {
		e.Errorf("[%d, %d) should be one deallocated extent, got %v", off, off+n, ext)
	}
}

func writeZeroes(e *env) {
	d, _ := e.open(volume)
	if d.Info().Caps.WriteZeroes == block.None {
		e.refused(block.Do(d, block.OpWriteZeroes, 0, 0, int64(e.bs)), block.Unsupported, "write-zeroes")
		return
	}
	bs := int64(e.bs)
	for _, flags := range []block.Flags{0, block.MayUnmap} {
		p := pattern(volume, 6)
		e.must(block.WriteAt(d, p, 0, 0))
		for _, r := range [][2]int64{{7 * bs, bs}, {64<<10 - bs, 3 * bs}, {0, bs}, {volume - bs, bs}, {1 << 20, 1 << 20}} {
			e.must(block.Do(d, block.OpWriteZeroes, flags, r[0], r[1]))
			clear(p[r[0] : r[0]+r[1]])
			e.expect(d, 0, p)
		}
		e.must(block.Do(d, block.OpWriteZeroes, flags, 0, volume))
		e.expect(d, 0, make([]byte, volume))
	}
	e.must(block.Do(d, block.OpWriteZeroes, 0, 0, volume))
	e.expect(d, 0, make([]byte, volume))
}

// status: what holds data is never reported as deallocated.
func status(e *env) {
	d, _ := e.open(volume)
	bs := int64(e.bs)
	written := [][2]int64{{0, bs}, {64<<10 - bs, 2 * bs}, {1 << 20, 256 << 10}, {volume - bs, bs}}
	for _, r := range written {
		e.must(block.WriteAt(d, pattern(int(r[1]), 1), r[0], 0))
	}
	mapped := func(off int64) bool {
		ext, err := d.Status(off, bs, 1)
		e.must(err)
		return ext[0].Alloc == block.Mapped
	}
	for _, r := range written {
		for off := r[0]; off < r[0]+r[1]; off += bs {
			if !mapped(off) {
				e.Fatalf("block at %d holds data and is reported as deallocated", off)
			}
		}
	}
	// The whole picture agrees with that of each block, however it is cut.
	whole := e.walk(d, 0, volume, 1<<20)
	for _, limit := range []int{1, 2, 3} {
		if cut := e.walk(d, 0, volume, limit); len(cut) != len(whole) {
			e.Fatalf("%d extents with limit %d, %d without", len(cut), limit, len(whole))
		}
	}
	for _, x := range whole {
		for _, off := range []int64{x.Off, x.Off + x.Len - bs} {
			if mapped(off) != (x.Alloc == block.Mapped) {
				e.Fatalf("block at %d differs from its extent %v", off, x)
			}
		}
	}
}

// walk collects all extents of [off, off+n), joining equal neighbours of
// different calls.
func (e *env) walk(d block.Device, off, n int64, limit int) []block.Extent {
	e.Helper()
	var all []block.Extent
	for end := off + n; off < end; {
		ext, err := d.Status(off, end-off, limit)
		e.must(err)
		for _, x := range ext {
			if k := len(all); k > 0 && all[k-1].Alloc == x.Alloc {
				all[k-1].Len += x.Len
			} else {
				all = append(all, x)
			}
			off = x.Off + x.Len
		}
	}
	return all
}

func statusArguments(e *env) {
	d, _ := e.open(volume)
	bs := int64(e.bs)
	for _, r := range [][2]int64{{volume, bs}, {volume - bs, 2 * bs}, {-bs, bs}, {0, -bs}} {
		_, err := d.Status(r[0], r[1], 4)
		e.refused(err, block.Invalid, "status of a range outside")
	}
}
