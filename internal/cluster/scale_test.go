package cluster

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

var (
	gateways = flag.Int("gateways", 30, "of the test of scale")
	volumes  = flag.Int("volumes", 1500, "of the test of scale")
	rate     = flag.Int("rate", 1700, "transactions a second that the store makes")
)

// TestScale loses a tenth of the gateways of a large cluster (`make scale`: 10
// of 100, with 10,000 volumes): each volume that lost its owner moves once, the
// others stay, and the rest shares them evenly.
func TestScale(t *testing.T) {
	for _, peers := range []bool{true, false} {
		began := time.Now()
		t.Run(fmt.Sprintf("peers=%v", peers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { scale(t, peers) })
		})
		t.Logf("%v of real time", time.Since(began).Round(time.Second))
	}
}

func scale(t *testing.T, peers bool) {
	w := newWorld(t, 0, model.FenceDriver)
	w.m.each = time.Second / time.Duration(*rate)
	w.add(*gateways, false, func(o *Options) { o.Times.Failback = 0 })
	w.startAll()
	defer w.stop()
	w.every("all are members", func() bool {
		for _, n := range w.nodes {
			if !n.r.Right() {
				return false
			}
		}
		return true
	})
	sleep(10 * time.Second)
	for i := range *volumes {
		id := volumeID(i)
		w.mu.Lock()
		w.media[id] = &medium{writer: map[san.Epoch]model.Member{}, blocked: map[model.Member]bool{}}
		w.mu.Unlock()
		w.m.put(model.VolumeRecord{ID: id, Fencing: model.FenceDriver})
	}
	took := w.every("all are served", w.activeAll)
	w.report(fmt.Sprintf("%d volumes for %d gateways", *volumes, *gateways), took)
	before := w.m.owners()
	w.report("nothing happens", w.quiet(10*time.Second))

	// A tenth of them is lost, the coordinator not among them.
	lost := map[model.Member]bool{}
	var gone []*node
	for _, n := range w.nodes {
		if len(gone) < *gateways/10 && n != w.coordinator() {
			gone = append(gone, n)
			lost[n.member()] = true
		}
	}
	w.m.restart()
	began := time.Now()
	for _, n := range gone {
		n.way.set(func(w *way) { w.cut = true })
	}
	for _, n := range gone {
		n.kill()
	}
	if peers {
		for m := range lost {
			w.lostBy(m, gone...)
		}
	}
	w.every("all are served again", w.activeAll)
	took = time.Since(began)
	w.report(fmt.Sprintf("%d gateways lost, peers %v", len(gone), peers), took)
	orphans, moves, load := 0, 0, map[model.GatewayID]int{}
	for i, o := range w.m.owners() {
		if lost[before[i].Owner] {
			orphans++
		}
		moves += int(o.Epoch - before[i].Epoch)
		load[o.Owner.Gateway]++
	}
	t.Logf("%d moves for %d volumes that lost their owner", moves, orphans)
	if moves > orphans || orphans == 0 {
		t.Errorf("%d moves for %d volumes that lost their owner", moves, orphans)
	}
	least, most := *volumes, 0
	for _, n := range load {
		least, most = min(least, n), max(most, n)
	}
	if most-least > 2+*volumes/(*gateways)/5 {
		t.Errorf("gateways have from %d to %d volumes", least, most)
	}
}

// restart begins to count anew.
func (m *memory) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.txns, m.kinds = 0, map[model.Kind]int{}
}

// report tells what the store did in the time since restart.
func (w *world) report(what string, took time.Duration) {
	w.m.mu.Lock()
	txns, beats, owners := w.m.txns, w.m.kinds[model.KindBeat], w.m.kinds[model.KindOwner]
	w.m.mu.Unlock()
	w.t.Logf("%s: %.2f s, %d transactions, %.0f a second (%d heartbeats, %d changes of ownership)",
		what, took.Seconds(), txns, float64(txns)/took.Seconds(), beats, owners)
	w.m.restart()
}

// quiet lets time pass.
func (w *world) quiet(d time.Duration) time.Duration {
	w.m.restart()
	sleep(d)
	return d
}

// every is eventually for what takes long to find out.
func (w *world) every(what string, ok func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for !ok() {
		if w.check(); time.Since(began) > 5*time.Minute {
			w.t.Fatalf("not in five minutes: %s", what)
		}
		sleep(20 * time.Millisecond)
	}
	w.check()
	return time.Since(began)
}

// activeAll reports whether every volume is served by a gateway that lives.
func (w *world) activeAll() bool {
	all := w.m.owners()
	if len(all) != len(w.media) {
		return false
	}
	live := map[model.Member]*node{}
	for _, n := range w.nodes {
		live[n.member()] = n
	}
	for _, o := range all {
		n := live[o.Owner]
		if o.State != model.Active || n == nil {
			return false
		}
		n.mu.Lock()
		x := n.open[o.Volume]
		here := x != nil && x.serves
		n.mu.Unlock()
		if !here {
			return false
		}
	}
	return true
}
