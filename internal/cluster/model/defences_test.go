package model

import (
	"testing"

	"pgregory.net/rapid"
)

// without are the defences, each with the histories that show what it is for.
var without = []struct {
	name string
	off  defence
	set  func(*history)
	// most: within so many histories one must go wrong.
	most int
}{
	{"the guard of the last heartbeat, and what covers the same", guardBeat | streamFirst | storeContact, slowStream, 1000},
	{"the wait for the right of the dead", waitForRight, r3Alone, 200},
	{"the wait afresh of a new coordinator", waitAfresh, r3Alone, 500},
	{"the right counted from the sending", rightFromSent, lateAnswers, 500},
	{"the look at the right before each write", checkRight, r3Alone, 500},
	{"the look at the right before each answer", checkRight, r2Alone, 1000},
	{"the raise of the epoch", raiseEpoch, nil, 100},
	{"the wait for the release", waitReleased, r3Alone, 500},
	{"the drain before the release", drainFirst, r3Alone, 500},
	{"the fence of a receiver that died", fenceReceiver, receivers, 500},
	{"the rule that fenced is fenced", staysFenced, nil, 2000},
	{"the guard of the ownership", guardOwner, nil, 500},
	{"the stop after an unknown outcome", stopUnknown, nil, 500},
	{"the write that settles an unknown outcome", settleByWrite, nil, 3000},
	{"the guard of the epoch on reservations", guardEpoch, lateReservations, 500},
	{"one death at a time", oneDeathATime, splits, 500},
}

// r3Alone leaves it to the right to serve that nothing old lands.
func r3Alone(h *history) {
	h.R2, h.Reads, h.Clocks, h.Linger = false, false, false, min(h.Linger, 300*Millisecond)
	h.FenceFails, h.Sole = max(h.FenceFails, 50), false
	for i := range h.Fencing {
		h.Fencing[i] = FenceDriver
	}
}

// r2Alone leaves it to the driver.
func r2Alone(h *history) {
	h.R2, h.Reads, h.Clocks = true, true, false
	h.FenceFails, h.Sole = 100, false
	for i := range h.Fencing {
		h.Fencing[i] = FenceDriver
	}
}

// slowStream has the changes told late, while the others suspect a gateway that
// can't hear of it.
func slowStream(h *history) {
	r3Alone(h)
	h.FenceFails, h.Gateways, h.Slow, h.Lost, h.Late = 100, 4, 20, 30, 20
	h.Faults = nil
	for i := range 4 {
		h.Faults = append(h.Faults, fault{Instant(3+6*i) * Second, faultPeers, i, 3 * Second},
			fault{Instant(3+6*i)*Second + 200*Millisecond, faultCut, i, 3 * Second})
	}
}

// lateAnswers has answers of the store take their time before gateways lose
// their way to it.
func lateAnswers(h *history) {
	r3Alone(h)
	h.FenceFails, h.Slow, h.Answers = 100, 0, 50
	for i := range 4 {
		h.Faults = append(h.Faults, fault{Instant(3+6*i) * Second, faultCut, i, 5 * Second})
	}
}

// receivers has gateways die when volumes have just been moved to them.
func receivers(h *history) {
	r3Alone(h)
	h.Gateways, h.Fencing, h.Faults = 4, []Fencing{FenceDriver, FenceDriver, FenceDriver, FenceDriver}, nil
	for i := range 12 {
		at := Instant(3+2*i) * Second
		h.Faults = append(h.Faults, fault{at, faultAsk, i, Second}, fault{at + Instant(10*(1+i%6))*Millisecond, faultKill, i, Second})
	}
}

// lateReservations has volumes move while transactions are late.
func lateReservations(h *history) {
	h.Late = 20
	for i := range 20 {
		h.Faults = append(h.Faults, fault{Instant(3+i) * Second, faultAsk, i * 7, Second})
	}
}

func splits(h *history) {
	h.Gateways = 4
	h.Faults = []fault{{10 * Second, faultSplit, 0, 6 * Second}}
}

// TestDefences switches the defences off, one by one: the exploration must see
// what goes wrong then.
func TestDefences(t *testing.T) {
	gen := rapid.Custom(drawHistory)
	for _, d := range without {
		t.Run(d.name, func(t *testing.T) {
			set := simConfig
			for i := range d.most {
				h := gen.Example(i + 1)
				if d.set != nil {
					d.set(&h)
				}
				set.off = d.off
				if w := play(h, set, nil); w.err != nil {
					set.off = 0
					if w := play(h, set, nil); w.err != nil {
						t.Fatalf("history %d is wrong with the defence too: %v", i+1, w.err)
					}
					t.Logf("history %d: %v", i+1, w.err)
					return
				}
			}
			t.Fatalf("nothing went wrong without %s in %d histories", d.name, d.most)
		})
	}
}

// TestRightAlone looks whether the right alone is enough where no driver shuts
// out old epochs, no fence works, and no clock stands still.
func TestRightAlone(t *testing.T) {
	gen := rapid.Custom(drawHistory)
	for i := range *histories {
		h := gen.Example(*firstSeed + i)
		r3Alone(&h)
		h.FenceFails = 100
		if w := play(h, simConfig, nil); w.err != nil {
			t.Fatalf("history %d: %v", *firstSeed+i, w.err)
		}
	}
}

// TestOutage looks whether anybody is declared dead because the store was away,
// and whether that is the work of the defence against it.
func TestOutage(t *testing.T) {
	for _, off := range []defence{0, storeContact} {
		set, deaths := simConfig, 0
		set.off = off
		for seed := range uint64(20) {
			h := history{
				Seed: seed, Gateways: 4, Fencing: []Fencing{FenceDriver, FenceDriver}, Linger: 300 * Millisecond, Skew: 10,
				Faults: []fault{{10 * Second, faultOutage, 0, 6 * Second}},
			}
			w := play(h, set, nil)
			if w.err != nil {
				t.Fatal(w.err)
			}
			deaths += w.store.deaths[ReasonSilent]
		}
		if (off == 0) != (deaths == 0) {
			t.Errorf("%d gateways were declared dead, with the defences %b switched off", deaths, off)
		}
	}
}

// TestSplit looks whether the halves of a cluster that don't reach each other
// kill each other in turn, each time that one of them comes back, and whether
// it is the rule about who has just come that keeps them from it.
func TestSplit(t *testing.T) {
	for _, off := range []defence{0, votesLater} {
		set, moves := simConfig, 0
		set.off = off
		const volumes, seeds = 4, 10
		for seed := range uint64(seeds) {
			h := history{Seed: seed, Gateways: 4, Linger: 300 * Millisecond, Skew: 10, Faults: []fault{{10 * Second, faultSplit, 0, 6 * Second}}}
			for range volumes {
				h.Fencing = append(h.Fencing, FenceDriver)
			}
			w := play(h, set, nil)
			if w.err != nil {
				t.Fatal(w.err)
			}
			moves += w.store.moves[ReasonDead]
		}
		if (off == 0) != (moves <= volumes*seeds) {
			t.Errorf("%d moves of %d volumes for death, with the defences %b switched off", moves, volumes*seeds, off)
		}
	}
}

// TestStoodStill must find that the right alone is not enough where a clock
// stands still, and that the driver's fence is.
func TestStoodStill(t *testing.T) {
	gen := rapid.Custom(drawHistory)
	found := 0
	for i := range 300 {
		h := gen.Example(i + 1)
		r3Alone(&h)
		h.Clocks, h.Reads, h.FenceFails = true, false, 100
		h.Faults = append(h.Faults, fault{10 * Second, faultClock, i, 6 * Second})
		if w := play(h, simConfig, nil); w.err != nil {
			found++
			h.R2, h.Reads, h.Clocks = true, true, false
			if w := play(h, simConfig, nil); w.err != nil {
				t.Fatalf("history %d: the driver fences: %v", i+1, w.err)
			}
		}
	}
	if found == 0 {
		t.Fatal("no write of a gateway whose clock stood still landed")
	}
}
