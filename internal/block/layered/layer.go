package layered

import (
	"fmt"
	"sync"
	"sync/atomic"

	"sango/internal/block/layered/vfs"
)

// tmpSuffix ends the names of files that nothing refers to yet.
const tmpSuffix = ".tmp"

// layer is an open layer: its data files and, where it has something beneath,
// its allocation index.
type layer struct {
	rec   layerRec
	segs  []segment
	idx   *index   // nil: it holds all of its clusters
	size  int64    // bytes
	links int      // names of its first file, when last looked: volumes that hold it
	guard vfs.Lock // of an adopted file that no other volume holds
}

// segment is one data file of a layer.
type segment struct {
	f     vfs.File
	dirty *atomic.Bool // written since its last sync began
}

func segmentCount(size, segment int64) int { return int((size + segment - 1) / segment) }

// names of a layer's files in its volume's directory.
func segmentName(dir string, id layerID, i int) string { return fmt.Sprintf("%s/%s.%04d", dir, id, i) }
func logName(dir string, id layerID) string            { return fmt.Sprintf("%s/%s.log", dir, id) }

// adoptedName is the stand-in of a layer whose data file is not ours: it has a
// name in the directory of each volume that holds the layer.
func adoptedName(dir string, id layerID) string { return fmt.Sprintf("%s/%s.adopted", dir, id) }

// files lists the names of a layer's files in dir; the first one is never
// replaced by another, so that its link count tells how many volumes hold it.
func (r *layerRec) files(dir string) (names []string) {
	if r.Adopted != "" {
		names = append(names, adoptedName(dir, r.ID))
	} else {
		for i := range segmentCount(r.Size, r.Segment) {
			names = append(names, segmentName(dir, r.ID, i))
		}
	}
	if r.Parent != nil {
		names = append(names, logName(dir, r.ID))
	}
	return names
}

// segmentSize returns how many bytes segment i has in a layer of size bytes.
func (r *layerRec) segmentSize(i int, size int64) int64 {
	return min(r.Segment, size-int64(i)*r.Segment)
}

// openData opens the data files.
func (l *layer) openData(fsys vfs.FS, dir string, mode vfs.Mode) error {
	if l.rec.Adopted != "" {
		return l.openSegment(fsys, l.rec.Adopted, mode, l.rec.Size)
	}
	for i := range segmentCount(l.rec.Size, l.rec.Segment) {
		if err := l.openSegment(fsys, segmentName(dir, l.rec.ID, i), mode, l.rec.segmentSize(i, l.rec.Size)); err != nil {
			return err
		}
	}
	return nil
}

func (l *layer) openSegment(fsys vfs.FS, name string, mode vfs.Mode, size int64) error {
	f, err := fsys.Open(name, mode)
	if err != nil {
		return err
	}
	l.segs = append(l.segs, segment{f, new(atomic.Bool)})
	info, err := f.Info()
	if err == nil && info.Size < size {
		err = fmt.Errorf("%s %w: it has %d bytes, the volume needs %d of it", name, errDamaged, info.Size, size)
	}
	return err
}

// createData makes the data files of a new layer, sparse and stable but for
// their names.
func (l *layer) createData(fsys vfs.FS, dir string) error {
	for i := range segmentCount(l.rec.Size, l.rec.Segment) {
		if err := l.addSegment(fsys, dir, i, l.rec.segmentSize(i, l.rec.Size)); err != nil {
			return err
		}
	}
	return nil
}

func (l *layer) addSegment(fsys vfs.FS, dir string, i int, size int64) error {
	f, err := fsys.Open(segmentName(dir, l.rec.ID, i), vfs.Replace)
	if err != nil {
		return err
	}
	l.segs = append(l.segs, segment{f, new(atomic.Bool)})
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

// extend gives the data files, which have room for from bytes, room for size
// bytes, stable but for new names. A file may be long enough already: from an
// attempt that was cut short, and perhaps not stable.
func (l *layer) extend(fsys vfs.FS, dir string, from, size int64) error {
	for i := range segmentCount(size, l.rec.Segment) {
		want := l.rec.segmentSize(i, size)
		if i >= len(l.segs) {
			if err := l.addSegment(fsys, dir, i, want); err != nil {
				return err
			}
			continue
		}
		if l.rec.segmentSize(i, from) >= want {
			continue
		}
		info, err := l.segs[i].f.Info()
		if err != nil {
			return err
		}
		if info.Size < want && info.Device {
			return fmt.Errorf("%w: device %s has %d bytes, not %d", ErrTooBig, l.rec.Adopted, info.Size, want)
		}
		if info.Size < want {
			if err := l.segs[i].f.Truncate(want); err != nil {
				return err
			}
		}
		if err := l.segs[i].f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// close closes the files.
func (l *layer) close() (err error) {
	if l.guard != nil {
		err = l.guard.Close()
		l.guard = nil
	}
	for _, s := range l.segs {
		if e := s.f.Close(); err == nil {
			err = e
		}
	}
	if l.idx != nil {
		if e := l.idx.log.f.Close(); err == nil {
			err = e
		}
	}
	return err
}

// vecs lends I/O vectors for parts of requests.
var vecs = sync.Pool{New: func() any { return &vecBuf{v: make([][]byte, 0, 64)} }}

type vecBuf struct{ v [][]byte }

// slice appends to dst the part [off, off+n) of vec.
func slice(dst, vec [][]byte, off, n int64) [][]byte {
	for _, b := range vec {
		if n <= 0 {
			break
		}
		if off >= int64(len(b)) {
			off -= int64(len(b))
			continue
		}
		b = b[off:min(int64(len(b)), off+n)]
		off, n = 0, n-int64(len(b))
		dst = append(dst, b)
	}
	return dst
}

// each calls fn for each part of [off, off+n) that lies in one segment: at is
// the offset in the segment, done what lies before the part.
func (l *layer) each(off, n int64, fn func(s segment, at, done, n int64) error) error {
	for done := int64(0); done < n; {
		i, at := 0, off+done
		if len(l.segs) > 1 {
			i, at = int(at/l.rec.Segment), at%l.rec.Segment
		}
		part := n - done
		if len(l.segs) > 1 {
			part = min(part, l.rec.Segment-at)
		}
		if err := fn(l.segs[i], at, done, part); err != nil {
			return err
		}
		done += part
	}
	return nil
}

// single returns the segment that holds all of [off, off+n) and the offset in
// it, if one does.
func (l *layer) single(off, n int64) (segment, int64, bool) {
	if len(l.segs) == 1 {
		return l.segs[0], off, true
	}
	i, at := off/l.rec.Segment, off%l.rec.Segment
	return l.segs[i], at, at+n <= l.rec.Segment
}

// read fills vec (n bytes in all) from off; the range lies inside the layer.
func (l *layer) read(vec [][]byte, off, n int64, nowait bool) error {
	if s, at, ok := l.single(off, n); ok {
		if nowait {
			return s.f.TryReadVec(vec, at)
		}
		return s.f.ReadVec(vec, at)
	}
	b := vecs.Get().(*vecBuf)
	defer vecs.Put(b)
	return l.each(off, n, func(s segment, at, done, n int64) error {
		b.v = slice(b.v[:0], vec, done, n)
		if nowait {
			return s.f.TryReadVec(b.v, at)
		}
		return s.f.ReadVec(b.v, at)
	})
}

// write stores vec (n bytes in all) at off, and on stable storage if sync is
// set. The segment counts as dirty only after the write: a flush that begins
// before then need not cover it.
func (l *layer) write(vec [][]byte, off, n int64, sync bool) error {
	if s, at, ok := l.single(off, n); ok {
		return s.write(vec, at, sync)
	}
	b := vecs.Get().(*vecBuf)
	defer vecs.Put(b)
	return l.each(off, n, func(s segment, at, done, n int64) error {
		b.v = slice(b.v[:0], vec, done, n)
		return s.write(b.v, at, sync)
	})
}

func (s segment) write(vec [][]byte, at int64, sync bool) error {
	if sync {
		err := s.f.WriteVecSync(vec, at)
		if err != nil {
			s.dirty.Store(true)
		}
		return err
	}
	err := s.f.WriteVec(vec, at)
	s.dirty.Store(true)
	return err
}

// punch deallocates the range.
func (l *layer) punch(off, n int64) error {
	return l.each(off, n, func(s segment, at, _, n int64) error {
		err := s.f.Punch(at, n)
		if isUnsupported(err) {
			err = writeZeros(s.f, at, n)
		}
		s.dirty.Store(true)
		return err
	})
}

// zero makes the range zero and keeps it allocated.
func (l *layer) zero(off, n int64) error {
	return l.each(off, n, func(s segment, at, _, n int64) error {
		err := s.f.Zero(at, n)
		if isUnsupported(err) {
			err = writeZeros(s.f, at, n)
		}
		s.dirty.Store(true)
		return err
	})
}

var zeros [1 << 20]byte

func writeZeros(f vfs.File, off, n int64) error {
	for n > 0 {
		part := min(n, int64(len(zeros)))
		if err := f.WriteVec([][]byte{zeros[:part]}, off); err != nil {
			return err
		}
		off, n = off+part, n-part
	}
	return nil
}

// sync makes what was written before stable.
func (l *layer) sync() error {
	for _, s := range l.segs {
		if !s.dirty.Swap(false) {
			continue
		}
		if err := s.f.Sync(); err != nil {
			s.dirty.Store(true)
			return err
		}
	}
	return nil
}
