package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

// inBalance has a cluster whose volumes are evenly shared, by their number, with
// the times of the product, but for that of heartbeats.
func inBalance(t *testing.T, gateways, volumes int, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volumes, model.FenceDriver)
		w.add(gateways, false, func(o *Options) { o.Times = model.Config{TTL: 12 * model.Second} })
		w.startAll()
		defer w.stop()
		w.eventually("all are served", w.served)
		w.even()
		f(t, w)
	})
}

// work has gateways tell, for some time, how much work their volumes are: as
// often as they do, and once more than they need where nothing changed. at gets
// the time since it began.
func (w *world) work(during time.Duration, at func(d time.Duration, v san.UUID) int) {
	w.t.Helper()
	began := time.Now()
	for time.Since(began) < during {
		owners := w.m.owners()
		for _, n := range w.nodes {
			all := map[san.UUID]int{}
			for _, o := range owners {
				if x := at(time.Since(began), o.Volume); o.State == model.Active && o.Owner == n.member() && x > 0 {
					all[o.Volume] = x
				}
			}
			if err := n.r.Weigh(w.t.Context(), all); err != nil {
				w.t.Error(err)
			}
		}
		sleep(10 * time.Second)
		w.check()
	}
}

// epochs is how often volumes got an owner.
func (w *world) epochs() (n int) {
	for _, o := range w.m.owners() {
		n += int(o.Epoch)
	}
	return n
}

// of returns the volumes that a node has.
func (w *world) of(n *node) (ids []san.UUID) {
	for _, o := range w.m.owners() {
		if o.Owner == n.member() {
			ids = append(ids, o.Volume)
		}
	}
	return ids
}

// Of two busy volumes on one gateway one moves to another. Then nothing moves for
// an hour, also when another gateway coordinates.
func TestBusyVolumesPart(t *testing.T) {
	inBalance(t, 3, 12, func(t *testing.T, w *world) {
		a := w.of(w.nodes[0])
		busy := map[san.UUID]int{a[0]: 20000, a[1]: 15000}
		load := func(_ time.Duration, v san.UUID) int { return busy[v] }
		before := w.epochs()
		w.work(10*time.Minute, load)
		if w.epochs() != before+1 {
			t.Errorf("%d moves", w.epochs()-before)
		}
		if o := get(w.m, model.OwnerRecord{Volume: a[1]}); w.by(a[0]) == w.by(a[1]) || o.Reason != model.ReasonBalance {
			t.Errorf("%v has both; %+v", w.by(a[0]).name, o)
		}
		w.work(time.Hour, load)
		w.m.mu.Lock()
		old := w.m.office
		old.cancel()
		w.m.mu.Unlock()
		w.eventually("somebody coordinates anew", func() bool {
			w.m.mu.Lock()
			anew := w.m.office != nil && w.m.office != old
			w.m.mu.Unlock()
			return anew && w.coordinator() != nil
		})
		w.work(time.Hour, load)
		if w.epochs() != before+1 {
			t.Errorf("%d moves in another two hours", w.epochs()-before-1)
		}
	})
}

// What is not worth a move moves nothing: little work, one volume that has it
// all, one beside it that would change nothing, as much work on both.
func TestNothingToGain(t *testing.T) {
	for _, c := range [][2][]int{{{900, 900}}, {{50000}}, {{50000, 3000}}, {{4000}, {3900}}, {{30000, 9000}, {12000, 12000}}} {
		inBalance(t, 2, 8, func(t *testing.T, w *world) {
			busy := map[san.UUID]int{}
			for i, work := range c {
				has := w.of(w.nodes[i])
				for j, n := range work {
					busy[has[j]] = n
				}
			}
			before := w.epochs()
			w.work(time.Hour, func(_ time.Duration, v san.UUID) int { return busy[v] })
			if w.epochs() != before {
				t.Errorf("%v: %d moves", c, w.epochs()-before)
			}
		})
	}
}

// Loads that swing to and fro do not make volumes wander.
func TestSwingingLoads(t *testing.T) {
	for half, most := range map[time.Duration]int{10 * time.Second: 0, 40 * time.Second: 0, 4 * time.Minute: 6} {
		inBalance(t, 3, 12, func(t *testing.T, w *world) {
			before := w.epochs()
			phase := map[san.UUID]int{}
			for i, n := range w.nodes {
				for _, v := range w.of(n) {
					phase[v] = i % 2
				}
			}
			w.work(2*time.Hour, func(d time.Duration, v san.UUID) int {
				if int(d/half)%2 == phase[v] {
					return 0
				}
				return 20000
			})
			if n := w.epochs() - before; n > most {
				t.Errorf("every %v: %d moves", half, n)
			}
		})
	}
}
