package model

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var (
	histories = flag.Int("histories", 300, "random histories for each test of exploration")
	firstSeed = flag.Int("seed", 1, "number of the first one")
)

// simConfig are times that make much happen in a minute.
var simConfig = Config{
	TTL: 3 * Second, Margin: 500 * Millisecond, Beat: 500 * Millisecond, Hold: Second, Cancel: 2 * Second,
	Failback: 5 * Second, Sticky: 10 * Second, Balance: 2 * Second, AskEvery: Second,
}

// faultsUntil is when the last fault ends.
const faultsUntil = 30 * Second

func drawHistory(t *rapid.T) history {
	number := func(label string, a, b int) int { return rapid.IntRange(a, b).Draw(t, label) }
	h := history{
		Seed:     rapid.Uint64().Draw(t, "seed"),
		Gateways: number("gateways", 2, 5),
		R2:       rapid.Bool().Draw(t, "R2"),
		Linger:   300 * Millisecond,
		Skew:     number("skew", 0, 20),
		Sole:     rapid.Bool().Draw(t, "sole"),
		Late:     number("late", 0, 5), Lost: number("lost", 0, 5), Slow: number("slow", 0, 3),
		FenceSlow: number("fence slow", 0, 50), FenceFails: number("fence fails", 0, 100), OpenFails: number("open fails", 0, 10),
	}
	if h.R2 { // it covers what R3 can't
		h.Clocks, h.Linger = rapid.Bool().Draw(t, "clocks"), 8*Second
		h.Reads = !h.Clocks && rapid.Bool().Draw(t, "reads")
	}
	for range number("volumes", 1, 5) {
		f := FenceDriver
		if !h.R2 || number("other fencing", 0, 3) == 0 {
			f = Fencing(number("fencing", 0, 2))
		}
		h.Fencing = append(h.Fencing, f)
	}
	if rapid.Bool().Draw(t, "prefer") {
		h.Prefer = []GatewayID{"B"}
	}
	h.Faults = rapid.SliceOfN(rapid.Custom(drawFault), 1, 12).Draw(t, "faults")
	return h
}

func drawFault(t *rapid.T) fault {
	f := fault{
		At:     Instant(rapid.IntRange(1500, 20000).Draw(t, "at")) * Millisecond,
		Kind:   faultKind(rapid.IntRange(0, int(faultKinds)-1).Draw(t, "kind")),
		Target: rapid.IntRange(0, 4).Draw(t, "target"),
		Length: Instant(rapid.IntRange(50, 9000).Draw(t, "length")) * Millisecond,
	}
	return f
}

// play plays a history to its end, and returns what was wrong.
func play(h history, set Config, log func(string)) *world {
	w := newWorld(h, set)
	if log != nil {
		w.log = func(s string) { log(fmt.Sprintf("%8.3f %s", float64(w.now)/1e9, s)) }
	}
	w.plan()
	w.pass(faultsUntil)
	if w.err != nil {
		return w
	}
	w.heal()
	w.pass(20 * Second)
	w.confirm() // who died late
	w.pass(40 * Second)
	w.quiet = true
	w.pass(2 * Second)
	if w.err == nil {
		w.settled()
	}
	return w
}

// TestExplore plays random histories, which rapid makes shorter when one fails.
func TestExplore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		if w := play(h, simConfig, nil); w.err != nil {
			var log []string
			play(h, simConfig, func(s string) { log = append(log, s) })
			t.Fatalf("%v\n%+v\n%s", w.err, h, strings.Join(log, "\n"))
		}
	})
}

// TestHistories plays as many as asked for, each by its number.
func TestHistories(t *testing.T) {
	gen := rapid.Custom(drawHistory)
	for i := range *histories {
		h := gen.Example(*firstSeed + i)
		if w := play(h, simConfig, nil); w.err != nil {
			var log []string
			play(h, simConfig, func(s string) { log = append(log, s) })
			t.Fatalf("history %d (-seed %d -histories 1): %v\n%+v\n%s", i, *firstSeed+i, w.err, h, strings.Join(log, "\n"))
		}
	}
}
