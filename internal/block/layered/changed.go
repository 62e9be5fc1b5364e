package layered

import (
	"errors"
	"fmt"
	"slices"

	"sango/internal/san"
)

// Changed calls fn for each range of bytes, in ascending order, that may
// differ between two snapshots of a volume; to = "" is the volume as it is.
// Ranges are whole clusters (64 KiB) but for the last; those outside them are
// the same. The snapshots may be on different branches (after a rollback):
// then it is what changed on both since their common ancestor. An error of fn
// ends it. ErrNotFound.
func (s *Store) Changed(id san.UUID, from, to string, fn func(off, n int64) error) error {
	return s.with(id, "list changes of", func(_ *entry, v *volume) error {
		differ, size, err := v.between(from, to)
		if err != nil {
			return err
		}
		return changes(differ, size[0], size[1], func(off, n int64) error {
			if v.leaving.Load() {
				return errLeaving
			}
			return fn(off, n)
		})
	})
}

// between returns the layers that only one of the two stands on, and their
// sizes, the smaller first.
func (v *volume) between(from, to string) (differ []*layer, size [2]int64, err error) {
	ends := [2]layerID{v.man.Live, v.man.Live}
	size = [2]int64{v.man.Size, v.man.Size}
	for i, name := range [2]string{from, to} {
		if name == "" && i == 1 {
			continue
		}
		snap := v.man.snapshot(name)
		if snap == nil {
			return nil, size, fmt.Errorf("%w: snapshot %q", ErrNotFound, name)
		}
		ends[i], size[i] = snap.Layer, snap.Size
	}
	v.gate.Lock()
	defer v.gate.Unlock()
	a, err := v.open(ends[0])
	b, err2 := v.open(ends[1])
	if err := errors.Join(err, err2); err != nil {
		return nil, size, err
	}
	for i, chain := range [2][]*layer{a, b} {
		other := [2][]*layer{b, a}[i]
		for _, l := range chain {
			if !slices.Contains(other, l) {
				differ = append(differ, l)
			}
		}
	}
	if size[0] > size[1] {
		size[0], size[1] = size[1], size[0]
	}
	return differ, size, nil
}

// changes walks the clusters that any of the layers has, and what lies
// between the two sizes.
func changes(layers []*layer, small, large int64, fn func(off, n int64) error) error {
	var off, n int64 // the range to report
	add := func(at, size int64) error {
		if n > 0 && off+n == at {
			n += size
			return nil
		}
		if n > 0 {
			if err := fn(off, n); err != nil {
				return err
			}
		}
		off, n = at, size
		return nil
	}
	end := clusters(small)
	for c := int64(0); c < end; {
		at, last := end, end
		for _, l := range layers {
			a, k, _, err := l.idx.next(c, end, wordClusters)
			if err != nil {
				return err
			}
			if k > 0 && a < at {
				at, last = a, a+k
			}
		}
		if at == end {
			break
		}
		if err := add(at<<clusterShift, min(last<<clusterShift, small)-at<<clusterShift); err != nil {
			return err
		}
		c = last
	}
	if large > small {
		if err := add(small, large-small); err != nil {
			return err
		}
	}
	if n > 0 {
		return fn(off, n)
	}
	return nil
}
