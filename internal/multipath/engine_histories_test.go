package multipath

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"

	"sango/internal/scsi/alua"
)

var (
	histories = flag.Int("histories", 1000, "random histories of the engine")
	firstSeed = flag.Uint64("seed", 1, "seed of the first history")
)

// history plays the history of a seed and returns what was wrong with it.
func history(seed uint64, change func(*simOptions)) (*sim, error) {
	r := rand.New(rand.NewPCG(seed, 0))
	o := simOptions{
		fence: r.IntN(4) > 0, gateways: 1 + r.IntN(3), policy: Policy(r.IntN(4)), ops: 100 + r.IntN(400),
		queue:   []time.Duration{-1, -1, -1, 0, 2 * time.Second, 30 * time.Second}[r.IntN(6)],
		quiesce: time.Duration(3+r.IntN(8)) * time.Second, wrongPath: r.IntN(5) == 0,
		others: []uint8{uint8(alua.NonOptimized), uint8(alua.NonOptimized), uint8(alua.Standby), uint8(alua.Unavailable)}[r.IntN(4)],
	}
	if change != nil {
		change(&o)
	}
	s := &sim{Rand: r, o: o, reports: map[string]int{}, faults: true}
	s.target = &simTarget{s: s, medium: make([]int, simBlocks)}
	for i := range o.gateways {
		s.target.gws = append(s.target.gws, &gateway{group: uint16(i + 1)})
	}
	s.client = &client{
		s: s, flight: map[int]*op{}, writing: make([]*op, simBlocks), floor: make([]int, simBlocks),
		newest: make([]int, simBlocks), owes: o.ops, pace: s.span(2*ms, 100*ms),
	}
	s.newEngineRun()
	s.client.next()
	end := s.span(2*time.Second, 30*time.Second)
	for range 1 + s.IntN(25) {
		s.after(s.span(0, end), s.fault)
	}
	s.after(end, s.heal)
	return s, s.play(end)
}

// play lets time pass until everything has ended, and ghosts had their time.
func (s *sim) play(end instant) error {
	idle := instant(-1)
	for steps := 0; len(s.todo) > 0 && s.failed == nil; steps++ {
		ev := s.pop()
		s.now = ev.at
		ev.do()
		if s.now <= end {
			continue
		}
		switch busy := s.client.owes > 0 || len(s.client.flight) > 0; {
		case busy && s.now > end+4*time.Minute:
			s.fail("%d requests have not ended: %+v", len(s.client.flight), s.eng.view())
		case steps > 2_000_000:
			s.fail("no end of events")
		case busy:
			idle = -1
		case idle < 0:
			idle = s.now
		case s.now > idle+30*time.Second:
			return s.failed
		}
	}
	return s.failed
}

// heal ends the faults.
func (s *sim) heal() {
	s.faults = false
	for _, p := range s.paths {
		p.refused = false
	}
	for g := range s.o.gateways { // where all paths were removed
		if s.livePath(g) == nil {
			s.addPath(g, false)
		}
	}
}

// livePath returns a path to gateway g.
func (s *sim) livePath(g int) *simPath {
	for _, id := range s.order {
		if p := s.paths[id]; p != nil && p.gw == g && !p.wrong && !p.removed {
			return p
		}
	}
	return nil
}

// fault does something bad.
func (s *sim) fault() {
	if !s.faults {
		return
	}
	p := s.livePath(s.IntN(s.o.gateways))
	if p == nil {
		return
	}
	switch k := s.IntN(20); {
	case k < 4:
		if p.sess != nil {
			s.reset(p.sess)
		}
	case k < 8:
		s.silence(p)
	case k < 10:
		s.refuse(p)
	case k < 12:
		s.target.restart(p.gw, s.span(0, 5*time.Second))
	case k < 15:
		s.target.move(s.IntN(s.o.gateways))
	case k < 16:
		for _, id := range s.order {
			if q := s.paths[id]; q != nil {
				s.silence(q)
				s.refuse(q)
			}
		}
	case k < 18:
		s.kill()
	case k < 19:
		s.feed(event{kind: evRemove, path: p.id})
		s.after(s.span(0, 2*time.Second), func() { s.addPath(p.gw, false) })
	default:
		s.addPath(p.gw, false)
	}
}

// kill ends the host's process; another takes over, and the kernel gives it
// the requests that were in flight.
func (s *sim) kill() {
	s.reports["takeovers"]++
	s.eng = nil
	for _, id := range s.order {
		p := s.paths[id]
		if p == nil || p.sess == nil {
			continue
		}
		sess := p.sess
		sess.host, sess.closedAt = false, s.now
		if !s.chance(4) {
			s.after(s.span(0, 3*time.Second), func() { sess.open = false })
		}
	}
	s.client.startIssued = s.issued
	s.newEngineRun()
	var again []*op
	for _, o := range s.client.flight {
		again = append(again, o)
	}
	sort.Slice(again, func(i, j int) bool { return again[i].n < again[j].n })
	for _, o := range again {
		s.client.start(o)
	}
}

// silence drops what is sent over p's session. The host finds out by its
// pings, or by a command that is not answered.
func (s *sim) silence(p *simPath) {
	sess := p.sess
	if sess == nil {
		return
	}
	sess.silent = true
	if s.chance(2) {
		eng := s.eng
		s.after(s.span(0, 3*time.Second), func() {
			if s.eng == eng {
				s.closeHost(sess, fmt.Errorf("no answer to a ping"))
			}
		})
	}
}

// refuse lets no login pass for a time.
func (s *sim) refuse(p *simPath) {
	p.refused = true
	s.after(s.span(0, 8*time.Second), func() { p.refused = false })
}

// TestHistories plays random histories of resets, silence, restarts, moves of
// the owner, take-overs and commands that arrive late, and checks each against
// a model: what was written is on the medium once and in order, reads see it,
// nothing is sent again that could still land, and everything ends.
func TestHistories(t *testing.T) {
	sum := map[string]int{}
	for i := range *histories {
		seed := *firstSeed + uint64(i)
		s, err := history(seed, nil)
		if err != nil {
			t.Fatalf("seed %d (%v): %v", seed, s.o, err)
		}
		for k, n := range s.reports {
			sum[k] += n
		}
		sum["requests"] += s.client.n
	}
	t.Logf("%d histories from seed %d: %v", *histories, *firstSeed, sum)
	if *histories < 100 {
		return
	}
	for _, k := range []string{"ghosts", "takeovers", "fenced sessions", "writes sent again", "errors"} {
		if sum[k] == 0 {
			t.Errorf("there were no %s: the histories are too tame", k)
		}
	}
}

// TestHistoriesNeedTheFence is the test of TestHistories: without the fence it
// must see that writes are sent twice, and that they undo newer ones.
func TestHistoriesNeedTheFence(t *testing.T) {
	for want, blind := range map[string]simOptions{
		"not fenced":           {},
		"landed after its end": {blindSends: true},
		"was undone by":        {blindSends: true, blindLate: true},
	} {
		found := false
		for seed := uint64(1); seed <= 3000 && !found; seed++ {
			_, err := history(seed, func(o *simOptions) { o.noFence, o.blindSends, o.blindLate = true, blind.blindSends, blind.blindLate })
			found = err != nil && strings.Contains(err.Error(), want)
		}
		if !found {
			t.Errorf("without the fence, no history failed with %q", want)
		}
	}
}
