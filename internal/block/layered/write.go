package layered

import (
	"bytes"

	"sango/internal/block/layered/vfs"
	"sango/internal/bufpool"
)

var errWouldBlock = vfs.ErrWouldBlock

const (
	// inPlaceMax is the largest write that is done on the caller's goroutine
	// when it asks not to wait, in bytes: a copy into the page cache.
	inPlaceMax = 64 << 10
	pageSize   = 4096
)

// mayWriteInPlace reports whether a write of the range is nothing but a copy
// into the page cache: small, of whole pages (so that none has to be read
// first), and of clusters that the top layer has.
func mayWriteInPlace(top *layer, off, n int64) bool {
	if n > inPlaceMax || (off|n)&(pageSize-1) != 0 {
		return false
	}
	if top.idx == nil {
		return true
	}
	for c := off >> clusterShift; c <= (off+n-1)>>clusterShift; c++ {
		if s, ok := top.idx.peek(c); !ok || s != present {
			return false
		}
	}
	return true
}

// write stores vec (n bytes) at off of the volume. The gate is held shared.
func (v *volume) write(vec [][]byte, off, n int64) error {
	top := v.live.chain[0]
	if top.idx == nil {
		return top.write(vec, off, n, false)
	}
	b := vecs.Get().(*vecBuf)
	defer vecs.Put(b)
	for done := int64(0); done < n; {
		run, err := v.writeRun(top, vec, b, off+done, done, n-done)
		if err != nil {
			return err
		}
		done += run
	}
	return nil
}

// writeRun stores some of the next n bytes, from done of vec on, and returns
// how many.
func (v *volume) writeRun(top *layer, vec [][]byte, b *vecBuf, off, done, n int64) (int64, error) {
	c, in := off>>clusterShift, off&(clusterSize-1)
	whole := int64(0) // clusters from c on that are written from end to end
	if in == 0 {
		whole = n >> clusterShift
		if off+n == v.live.size && n&(clusterSize-1) != 0 {
			whole++ // the last one of the volume is short
		}
	}
	var (
		s    state
		got  int64
		wait chan struct{}
		err  error
	)
	// Most writes find the cluster there, and need no lock to see it.
	if at, ok := top.idx.peek(c); !ok || at != present {
		s, got, wait, err = top.idx.claim(c, max(1, whole))
	}
	switch {
	case err != nil:
		return 0, err
	case wait != nil:
		<-wait
		return 0, nil
	case got == 0: // present: as far as that goes
		run := min(n, clusterSize-in)
		for run < n {
			if s, ok := top.idx.peek((off + run) >> clusterShift); !ok || s != present {
				break
			}
			run = min(n, run+clusterSize)
		}
		b.v = slice(b.v[:0], vec, done, run)
		return run, top.write(b.v, off, run, false)
	case whole > 0:
		run := min(n, got<<clusterShift)
		b.v = slice(b.v[:0], vec, done, run)
		err = top.write(b.v, off, run, false)
		return run, top.finish(c, got, s, err)
	}
	run := min(n, clusterSize-in)
	b.v = slice(b.v[:0], vec, done, run)
	return run, top.finish(c, 1, s, v.copyUp(top, c, s, b.v, in, run))
}

// finish ends the first write of n claimed clusters: err is how their data
// fared, was what they were before.
func (l *layer) finish(c, n int64, was state, err error) error {
	if err == nil {
		err = l.idx.log.append(record{recPresent, uint64(c), uint64(n)})
	}
	s := present
	if err != nil {
		s = was
	}
	if e := l.idx.settle(c, n, s); err == nil {
		err = e
	}
	return err
}

// copyUp brings cluster c, which was absent or zeroed, into the top layer,
// with n bytes of vec at in. The cluster is claimed; its record comes after.
// Whatever an earlier attempt left in the file there is overwritten or
// punched.
func (v *volume) copyUp(top *layer, c int64, was state, vec [][]byte, in, n int64) error {
	off := c << clusterShift
	size := min(clusterSize, v.live.size-off)
	if was == zeroed {
		return punchAndWrite(top, off, size, vec, in, n)
	}
	below, run, err := locate(v.live.chain[1:], off, size, false)
	if err != nil {
		return err
	}
	if below == nil && run == size {
		return punchAndWrite(top, off, size, vec, in, n)
	}
	if run == size && v.share(top, below, off, size) {
		return top.write(vec, off+in, n, false)
	}
	buf := bufpool.Get(int(size))
	defer buf.Release()
	if err := readChain(v.live.chain[1:], [][]byte{buf.B}, off, size, false); err != nil {
		return err
	}
	if allZero(buf.B) {
		return punchAndWrite(top, off, size, vec, in, n)
	}
	at := buf.B[in : in+n]
	for _, p := range vec {
		at = at[copy(at, p):]
	}
	return top.write([][]byte{buf.B}, off, size, false)
}

func punchAndWrite(top *layer, off, size int64, vec [][]byte, in, n int64) error {
	if err := top.punch(off, size); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	return top.write(vec, off+in, n, false)
}

// share lets the top layer's file take over the extents of the one beneath, on
// filesystems that can.
func (v *volume) share(top, below *layer, off, n int64) bool {
	if v.noClone.Load() {
		return false
	}
	dst, at, ok := top.single(off, n)
	src, from, ok2 := below.single(off, n)
	if !ok || !ok2 {
		return false
	}
	err := dst.f.CloneFrom(at, src.f, from, n)
	if isUnsupported(err) && n == clusterSize {
		v.noClone.Store(true)
	}
	dst.dirty.Store(true)
	return err == nil
}

func allZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// populate makes all clusters of the range present in the top layer and gives
// them disk space, so that a write of the range can't run out of it.
func (v *volume) populate(off, n int64) error {
	top := v.live.chain[0]
	for c := off >> clusterShift; top.idx != nil && c <= (off+n-1)>>clusterShift; {
		s, got, wait, err := top.idx.claim(c, 1)
		switch {
		case err != nil:
			return err
		case wait != nil:
			<-wait
			continue
		case got > 0:
			if err := top.finish(c, 1, s, v.copyUp(top, c, s, nil, 0, 0)); err != nil {
				return err
			}
		}
		c++
	}
	return top.each(off, n, func(s segment, at, _, n int64) error {
		if err := s.f.Allocate(at, n); err != nil && !isUnsupported(err) {
			return err
		}
		return nil
	})
}

// flush makes all that was written before stable: it notes the log's end,
// syncs the data, then lets a mark vouch for exactly what lay before that end.
// The kernel reports a failed writeback once: so a flush that waited for one
// that failed must not try again, and the volume has failed before any other
// may begin.
func (v *volume) flush(top *layer) error {
	v.flushing.Lock()
	defer v.flushing.Unlock()
	if err := v.failedErr(); err != nil {
		return err
	}
	return v.check(v.sync(top))
}

// writeThrough is a write to a layer without a log that is stable when it
// returns. It has its turn with the flushes, for their reason: another one's
// failure must not pass for this one's success.
func (v *volume) writeThrough(top *layer, vec [][]byte, off, n int64) error {
	v.flushing.Lock()
	defer v.flushing.Unlock()
	if err := v.failedErr(); err != nil {
		return err
	}
	return v.check(top.write(vec, off, n, true))
}

// sync is flush without its lock.
func (v *volume) sync(top *layer) error {
	if top.idx == nil {
		return top.sync()
	}
	end, vouched := top.idx.log.position()
	if err := top.sync(); err != nil || vouched {
		return err
	}
	return top.idx.log.mark(end)
}
