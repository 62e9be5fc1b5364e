package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

// inWorld runs a test in simulated time, with a cluster that serves.
func inWorld(t *testing.T, nodes, volumes int, f model.Fencing, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, volumes, f)
		w.add(nodes, true, nil)
		w.startAll()
		defer w.stop()
		w.even()
		test(t, w)
	})
}

// What a gateway had that died is served by the others, at once where its peers
// miss it and it can be fenced.
func TestTakeover(t *testing.T) {
	inWorld(t, 4, 12, model.FenceDriver, func(t *testing.T, w *world) {
		for _, peers := range []bool{true, false} {
			i := 0
			for w.nodes[i] == w.coordinator() {
				i++
			}
			n := w.nodes[i]
			m := n.member()
			lost := w.has(n)
			before := w.m.owners()
			n.kill()
			if peers {
				w.lostBy(m, n)
			}
			took := w.eventually("all is served again", w.served)
			t.Logf("peers %v: %v", peers, took)
			if peers && took > time.Second || !peers && took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if lost == 0 {
				t.Error("it had nothing")
			}
			for i, o := range w.m.owners() {
				if moved := o.Epoch != before[i].Epoch; moved != (before[i].Owner == m) || moved && o.Reason != model.ReasonDead {
					t.Errorf("%+v after %+v", o, before[i])
				}
			}
			n.start()
			w.even()
		}
	})
}

// A drain empties a gateway without a death, and it is given volumes again
// when that is over.
func TestDrain(t *testing.T) {
	inWorld(t, 3, 9, model.FenceDriver, func(t *testing.T, w *world) {
		n, ctx := w.nodes[1], t.Context()
		if err := Drain(ctx, w.nodes[0].way, n.name); err != nil {
			t.Fatal(err)
		}
		w.eventually("it is empty", func() bool { return w.has(n) == 0 && w.served() })
		w.eventually("all say so", func() bool {
			st, err := w.nodes[2].r.Status(ctx)
			return err == nil && st.Gateways[1].Draining && st.Gateways[1].Volumes == 0 && st.Moving == 0 && len(st.Volumes) == 9 && st.Me == w.nodes[2].member()
		})
		if err := Undrain(ctx, w.nodes[0].way, n.name); err != nil {
			t.Fatal(err)
		}
		w.eventually("it has volumes again", func() bool { return w.has(n) >= 2 })
		if err := Drain(ctx, w.nodes[0].way, "nobody"); !errors.Is(err, san.ErrNotFound) {
			t.Errorf("Drain of nobody = %v", err)
		}
		for _, n := range w.nodes {
			if n.fenced > 0 {
				t.Errorf("%s was fenced", n.name)
			}
		}
	})
}

// A gateway that loses its way to the store loses its right, then its volumes,
// and comes back as another member.
func TestRejoin(t *testing.T) {
	inWorld(t, 3, 6, model.FenceDriver, func(t *testing.T, w *world) {
		n := w.nodes[0]
		m := n.member()
		w.noFence = true // the wait has to do
		n.way.set(func(w *way) { w.cut = true })
		w.eventually("it has no right", func() bool { return !n.r.Right() })
		w.eventually("the others serve", func() bool { return w.served() && w.has(n) == 0 })
		n.way.set(func(w *way) { w.cut = false })
		w.eventually("it is back", func() bool { return n.r.Right() && n.member().Incarnation > m.Incarnation })
		if n.fenced != 1 || n.lost == 0 {
			t.Errorf("fenced %d times, lost its right %d times", n.fenced, n.lost)
		}
	})
}

// Without a coordinator all that is served goes on; the next one takes over.
func TestCoordinatorDies(t *testing.T) {
	inWorld(t, 4, 8, model.FenceDriver, func(t *testing.T, w *world) {
		n := w.coordinator()
		m := n.member()
		n.kill()
		w.lostBy(m, n)
		took := w.eventually("all is served again", func() bool { return w.served() })
		t.Logf("%v", took)
		if c := w.coordinator(); c == nil || c == n {
			t.Error("nobody coordinates")
		}
		if took > 4*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A store that is away for longer than a heartbeat counts kills nobody.
func TestStoreSilent(t *testing.T) {
	inWorld(t, 3, 6, model.FenceDriver, func(t *testing.T, w *world) {
		epochs := w.m.owners()
		for _, n := range w.nodes {
			n.way.set(func(w *way) { w.cut = true })
		}
		sleep(8 * time.Second)
		for _, n := range w.nodes {
			if n.r.Right() {
				t.Error("a right without a store")
			}
		}
		for _, n := range w.nodes {
			n.way.set(func(w *way) { w.cut = false })
		}
		w.eventually("all is served again", w.served)
		for i, o := range w.m.owners() {
			if o.Epoch != epochs[i].Epoch {
				t.Errorf("%+v moved", o)
			}
		}
		for _, n := range w.nodes {
			if n.fenced > 0 {
				t.Errorf("%s was fenced", n.name)
			}
		}
	})
}

// A stream that tells nothing is noticed, and begun again.
func TestSilentStream(t *testing.T) {
	inWorld(t, 3, 6, model.FenceDriver, func(t *testing.T, w *world) {
		n := w.nodes[1]
		n.way.set(func(w *way) { w.stalled = true })
		fresh := make(chan bool, 1)
		sleep(time.Second)
		n.r.Fresh(func(ok bool) { fresh <- ok })
		if <-fresh {
			t.Error("it says that it is current, and is not")
		}
		if err := Drain(t.Context(), w.nodes[0].way, n.name); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.AfterFunc(5*time.Second, func() { n.way.set(func(w *way) { w.stalled = false }) })
		w.eventually("it is empty", func() bool { return w.has(n) == 0 && w.served() })
		if time.Since(began) > 10*time.Second {
			t.Errorf("it took %v", time.Since(began))
		}
		w.eventually("it is current", func() bool {
			n.r.Fresh(func(ok bool) { fresh <- ok })
			return <-fresh
		})
	})
}

// Who leaves gives up what it has first, and nobody waits for its right.
func TestLeave(t *testing.T) {
	inWorld(t, 3, 9, model.FenceNone, func(t *testing.T, w *world) {
		for _, n := range w.nodes[:2] {
			m := n.member()
			if err := n.r.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-n.end; err != nil {
				t.Error(err)
			}
			n.over = true
			if g := get(w.m, model.GatewayRecord{ID: n.name}); g.Life != model.Dead || g.Why != model.ReasonLeft || n.fenced > 0 || len(n.open) > 0 {
				t.Errorf("%v: %+v", m, g)
			}
			n.me = model.Member{}
			w.eventually("the others serve", w.served)
		}
		// The last one leaves nothing open.
		if err := w.nodes[2].r.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, o := range w.m.owners() {
			if o.State != model.Free {
				t.Errorf("%+v", o)
			}
		}
	})
}

// Without a fence a person says that a gateway is off; then it can be removed.
func TestConfirmAndRemove(t *testing.T) {
	inWorld(t, 3, 6, model.FenceNone, func(t *testing.T, w *world) {
		n, other, ctx := w.nodes[0], w.nodes[1].way, t.Context()
		if err := Remove(ctx, other, n.name); !errors.Is(err, san.ErrRefused) {
			t.Errorf("a gateway that lives is removed: %v", err)
		}
		for range 2 { // what was before it may be confirmed once
			if err := ConfirmDead(ctx, other, n.name); err != nil && !errors.Is(err, san.ErrRefused) {
				t.Error(err)
			}
		}
		if get(w.m, model.FenceRecord{ID: n.name}).Upto >= n.member().Incarnation {
			t.Error("a gateway that lives is harmless")
		}
		n.kill()
		w.eventually("it is dead", func() bool { return get(w.m, model.GatewayRecord{ID: n.name}).Life == model.Dead })
		sleep(10 * time.Second)
		if w.served() {
			t.Error("its volumes were given away")
		}
		if err := Remove(ctx, other, n.name); err != nil {
			t.Fatal(err)
		}
		if err := ConfirmDead(ctx, other, n.name); err != nil {
			t.Fatal(err)
		}
		w.eventually("the others serve", w.served)
		w.eventually("it is forgotten", func() bool { return get(w.m, model.GatewayRecord{ID: n.name}).Life == 0 })
	})
}

// A host's wish is done, and not too often; load is balanced.
func TestMoveAndBalance(t *testing.T) {
	inWorld(t, 2, 4, model.FenceDriver, func(t *testing.T, w *world) {
		v := volumeID(1)
		from := w.by(v)
		to := w.nodes[0]
		if from == to {
			to = w.nodes[1]
		}
		if err := from.r.Move(t.Context(), v, to.name, "a nexus"); err != nil {
			t.Fatal(err)
		}
		if w.eventually("it is there", w.served); w.by(v) != to {
			t.Error("it is not there")
		}
		if o := get(w.m, model.OwnerRecord{Volume: v}); o.Reason != model.ReasonAsked || o.Asked != "a nexus" {
			t.Errorf("%+v", o)
		}
		if err := from.r.Move(t.Context(), v, to.name, ""); err != nil {
			t.Errorf("where it is already: %v", err)
		}
		if err := from.r.Move(t.Context(), v, from.name, ""); !errors.Is(err, san.ErrRefused) {
			t.Errorf("again at once: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := to.r.Move(ctx, volumeID(2), "nobody", ""); !errors.Is(err, san.ErrUnavailable) {
			t.Errorf("to nobody: %v", err)
		}
		w.even()
	})
}

// A gateway that can't open a volume gives it to another, and says why.
func TestOpenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4, model.FenceDriver)
		w.add(2, true, nil)
		w.nodes[0].broken = true
		w.startAll()
		defer w.stop()
		w.eventually("the other one serves", func() bool { return w.served() && w.has(w.nodes[1]) == 4 })
		st, err := w.nodes[0].r.Status(t.Context())
		if err != nil || len(st.Trouble) == 0 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
