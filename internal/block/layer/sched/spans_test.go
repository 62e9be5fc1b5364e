package sched

import (
	"math/rand/v2"
	"testing"
)

// What the stripes say agrees with a look at every span, also for long ranges,
// and for those that share stripes because the volume is larger than they are.
func TestStripesMissNoOverlap(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 0))
	pick := func() (lo, hi int64) {
		lo = rng.Int64N(4)*stripes<<stripeShift + rng.Int64N(64)*512
		n := 1 + rng.Int64N(16)
		if rng.IntN(20) == 0 {
			n *= 40 << stripeShift / 512 // wide
		}
		return lo, lo + n*512
	}
	var s spans
	var units []*unit
	for step := range 20_000 {
		lo, hi := pick()
		var want *unit
		for _, u := range units {
			if u.lo < hi && lo < u.hi && (want == nil || u.seq > want.seq) {
				want = u
			}
		}
		if got := s.latest(lo, hi, 1<<63, nil); got != want {
			t.Fatalf("seed %d, step %d: for [%d, %d) %+v, want %+v", seed, step, lo, hi, got, want)
		}
		switch k := rng.IntN(4); {
		case k < 2 && len(units) < 20:
			u := &unit{lo: lo, hi: hi, seq: uint64(step), span: -1}
			s.add(u)
			units = append(units, u)
		case k == 2 && len(units) > 0:
			u := units[rng.IntN(len(units))]
			u.hi += 512 * rng.Int64N(40)
			s.widen(&s.list[u.span], u.lo, u.hi)
		case len(units) > 0:
			i := rng.IntN(len(units))
			s.remove(units[i])
			units[i] = units[len(units)-1]
			units = units[:len(units)-1]
		}
	}
	for _, u := range units {
		s.remove(u)
	}
	if s.wide != 0 || s.stripes != [stripes]uint32{} {
		t.Error("the stripes of no spans are not empty")
	}
}
