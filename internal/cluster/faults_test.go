package cluster

import (
	"flag"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/cluster/model"
)

var (
	histories = flag.Int("histories", 60, "random histories")
	firstSeed = flag.Uint64("seed", 1, "of the first one")
)

// TestFaults plays random histories: gateways die, lose the store, or are
// drained, streams tell nothing, answers are lost or late, while hosts write.
// No write lands under an epoch that another has followed, and in the end
// every volume is served.
func TestFaults(t *testing.T) {
	for i := range *histories {
		play(t, *firstSeed+uint64(i), false)
	}
}

// TestFaultsSee must find a write that lands late where nobody looks at the
// right to serve.
func TestFaultsSee(t *testing.T) {
	for seed := range uint64(200) {
		if play(t, seed, true) {
			t.Logf("seed %d", seed)
			return
		}
	}
	t.Error("no write landed late")
}

// play plays a history, and reports whether something went wrong that was to.
func play(t *testing.T, seed uint64, blind bool) (saw bool) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, 2+rng.IntN(6), model.FenceDriver)
		w.blind = blind
		w.add(2+rng.IntN(3), true, nil)
		w.startAll()
		defer w.stop()
		defer func() {
			if saw = w.saw(); t.Failed() {
				t.Logf("-seed %d -histories 1", seed)
			}
		}()
		for range 12 {
			sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
			w.fault(rng, w.nodes[rng.IntN(len(w.nodes))])
			w.check()
		}
		w.mu.Lock()
		w.noFence = false
		w.mu.Unlock()
		for _, n := range w.nodes {
			n.way.set(func(w *way) { w.cut, w.stalled, w.lost, w.slow = false, false, 0, 4*time.Millisecond })
			if err := Undrain(t.Context(), n.way, n.name); err != nil {
				t.Logf("%v", err)
			}
			if n.over {
				n.start()
			}
		}
		w.eventually("all is served", w.served)
	})
	return saw
}

func (w *world) fault(rng *rand.Rand, n *node) {
	length := time.Duration(rng.IntN(8000)) * time.Millisecond
	later := func(f func(w *way)) { time.AfterFunc(length, func() { n.way.set(f) }) }
	switch rng.IntN(8) {
	case 0:
		if m := n.member(); !n.over {
			n.kill()
			if rng.IntN(2) == 0 {
				w.lostBy(m, n)
			}
			break
		}
		n.start()
	case 1:
		if !n.over {
			n.way.set(func(w *way) { w.cut = true })
			later(func(w *way) { w.cut = false })
		}
	case 2:
		n.way.set(func(w *way) { w.stalled = true })
		later(func(w *way) { w.stalled = false })
	case 3:
		n.way.set(func(w *way) { w.lost = 40 })
		later(func(w *way) { w.lost = 0 })
	case 4:
		n.way.set(func(w *way) { w.slow = 1500 * time.Millisecond })
		later(func(w *way) { w.slow = 4 * time.Millisecond })
	case 5:
		w.m.put(model.DrainRecord{ID: n.name})
		time.AfterFunc(length, func() { w.m.apply(model.Txn{Deletes: []model.Key{model.DrainRecord{ID: n.name}.Key()}}) })
	case 6:
		w.mu.Lock()
		w.noFence = !w.noFence
		w.mu.Unlock()
	case 7:
		if c := w.coordinator(); c != nil {
			c.way.set(func(w *way) { w.cut = true })
			time.AfterFunc(length, func() { c.way.set(func(w *way) { w.cut = false }) })
		}
	}
}
