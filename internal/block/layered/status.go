package layered

import "sango/internal/block"

// status lists the extents of [off, off+n): what the stack holds nowhere and
// what lies in a hole of the file that owns it is deallocated.
func status(chain []*layer, off, n int64, limit int, blockSize int64) ([]block.Extent, error) {
	var out []block.Extent
	add := func(at, n int64, a block.Alloc) bool {
		if k := len(out); k > 0 && out[k-1].Alloc == a {
			out[k-1].Len += n
			return true
		}
		if len(out) == limit {
			return false
		}
		out = append(out, block.Extent{Off: at, Len: n, Alloc: a})
		return true
	}
	for end := off + n; off < end; {
		l, run, err := locate(chain, off, end-off, false)
		if err != nil {
			return nil, err
		}
		if l == nil {
			if !add(off, run, block.Deallocated) {
				break
			}
			off += run
			continue
		}
		more := true
		err = l.each(off, run, func(s segment, at, done, n int64) error {
			for stop := at + n; at < stop && more; {
				data, err := s.f.NextData(at)
				if err != nil {
					return err
				}
				// A block that is data in part is data.
				data = min(stop, max(at, data/blockSize*blockSize))
				if data > at {
					more = add(off+done, data-at, block.Deallocated)
					done, at = done+data-at, data
					continue
				}
				hole, err := s.f.NextHole(at)
				if err != nil {
					return err
				}
				hole = min(stop, (hole+blockSize-1)/blockSize*blockSize)
				if hole <= at {
					hole = min(stop, at+blockSize)
				}
				more = add(off+done, hole-at, block.Mapped)
				done, at = done+hole-at, hole
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		off += run
	}
	return out, nil
}
