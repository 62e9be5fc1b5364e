package sched

// span is the range of a unit that has not ended.
type span struct {
	lo, hi int64
	u      *unit
}

// spans are ranges of units. Whether one overlaps another is looked up from
// end to end: a few hundred of them, side by side in memory, cost less than
// keeping a tree would. The stripes tell, nearly always, that nothing does.
type spans struct {
	list    []span
	wide    int // spans over more than maxStripes
	stripes [stripes]uint32
}

// A span counts in each of its stripes, a part of the volume each, modulo their
// number.
const (
	stripes     = 4096
	stripeShift = 12 // bytes a stripe: 4 KiB
	maxStripes  = 32 // a span over more is wide
)

// stripesOf returns the first stripe of [lo, hi), which is not empty, and how
// many it touches.
func stripesOf(lo, hi int64) (first, n uint64) {
	first = uint64(lo) >> stripeShift
	return first, uint64(hi-1)>>stripeShift - first + 1
}

// count adds d for [lo, hi) to the stripes.
func (s *spans) count(lo, hi int64, d int) {
	first, n := stripesOf(lo, hi)
	if n > maxStripes {
		s.wide += d
		return
	}
	for i := range n {
		s.stripes[(first+i)%stripes] += uint32(d)
	}
}

// apart reports that nothing overlaps [lo, hi), which is not empty. false does
// not say that something does.
func (s *spans) apart(lo, hi int64) bool {
	if len(s.list) == 0 {
		return true
	}
	first, n := stripesOf(lo, hi)
	if s.wide > 0 || n > maxStripes {
		return false
	}
	for i := range n {
		if s.stripes[(first+i)%stripes] > 0 {
			return false
		}
	}
	return true
}

func (s *spans) add(u *unit) {
	u.span = len(s.list)
	s.list = append(s.list, span{u.lo, u.hi, u})
	s.count(u.lo, u.hi, 1)
}

// widen makes e, one of s, the range [lo, hi).
func (s *spans) widen(e *span, lo, hi int64) {
	s.count(e.lo, e.hi, -1)
	e.lo, e.hi = lo, hi
	s.count(lo, hi, 1)
}

func (s *spans) remove(u *unit) {
	l := s.list
	last := len(l) - 1
	s.count(l[u.span].lo, l[u.span].hi, -1)
	l[u.span] = l[last]
	l[u.span].u.span = u.span
	l[last] = span{}
	s.list = l[:last]
	u.span = -1
}

// latest returns the unit with the highest seq below before among those that
// overlap [lo, hi), or best if that is later.
func (s *spans) latest(lo, hi int64, before uint64, best *unit) *unit {
	if s.apart(lo, hi) {
		return best
	}
	for i := range s.list {
		if e := &s.list[i]; e.lo < hi && lo < e.hi && e.u.seq < before && (best == nil || e.u.seq > best.seq) {
			best = e.u
		}
	}
	return best
}
