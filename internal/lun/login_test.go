package lun

import (
	"testing"

	"sango/internal/reserve"
	"sango/internal/san"
	"sango/internal/scsi"
)

// crash takes the volume from its owner, which did not come to store what has
// happened since record was in the store.
func (g *gang) crash(record []byte) {
	g.t.Helper()
	g.gates[g.owner].unit.guard.reading.Wait()
	g.cut()
	if err := g.store.Save(StateReservations, record); err != nil {
		g.t.Fatal(err)
	}
}

// next makes gateway at the owner after crash. All fronts have told of their
// nexuses then.
func (g *gang) next(at int) {
	g.t.Helper()
	g.serve(at)
	g.gates[at].unit.Sweep(func(san.TPG) bool { return true })
	g.gates[at].unit.guard.reading.Wait()
}

func (g *gang) record() []byte {
	g.t.Helper()
	b, err := g.store.Load(StateReservations)
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// quiet takes the unit attentions away that a login is told.
func quiet(all ...*wire) {
	for _, w := range all {
		w.pending()
	}
}

// The holder of a RESERVE(6) is gone, its owner dies before it has stored that,
// and the host logs in again before there is another owner: the new session is
// not the holder, although its name is the same.
func TestReserve6IsNotInheritedByTheNextLogin(t *testing.T) {
	for _, next := range []int{1, 2} { // the gateway of the holder, and another one
		g := newGang(t, 3, nil)
		g.serve(0)
		a, b := g.attach(1, 1), g.attach(2, 2)
		quiet(a, b)
		wantGood(t, a.run(a.newTask(reserve6CDB)))
		wantConflict(t, b.tur())
		record := g.record()
		a.Detach()
		g.crash(record)
		a = g.attach(1, 1)
		g.next(next)
		quiet(a, b)
		wantGood(t, b.tur())
		if g.holder() {
			t.Error("the record holds it still")
		}
		wantGood(t, b.run(b.newTask(reserve6CDB)))
		wantConflict(t, a.tur())
	}
}

// The holder is at a gateway that lives: it keeps what it holds, and is told of
// no loss. So it is with a record of a program that did not know logins.
func TestReserve6OutlivesTheOwner(t *testing.T) {
	for _, next := range []int{1, 2} {
		for _, old := range []bool{false, true} {
			g := newGang(t, 3, nil)
			g.serve(0)
			a, b := g.attach(1, 1), g.attach(2, 2)
			quiet(a, b)
			wantGood(t, a.run(a.newTask(reserve6CDB)))
			record := g.record()
			if old {
				s, _ := (&reserve.State{}).Reserve6(g.name(1, 1), 0)
				record = s.Encode()
			}
			a.Cut(0, g.gates[1].unit.relay)
			b.Cut(0, g.gates[2].unit.relay)
			g.crash(record)
			g.next(next)
			wantGood(t, a.tur())
			wantLoss(t, b) // it may have missed something
			wantConflict(t, b.tur())
			wantGood(t, a.run(a.newTask(release6CDB)))
			wantGood(t, b.tur())
		}
	}
}

// wantLoss wants w to be told of the loss of its nexus.
func wantLoss(t *testing.T, w *wire) {
	t.Helper()
	wantSense(t, w.tur(), scsi.UnitAttention, scsi.ASCNexusLoss)
}

// While it is not known whether the holder lives, a session of its name gets no
// answer that would not hold.
func TestReserve6OfTheNextLoginWaits(t *testing.T) {
	g := newGang(t, 3, nil)
	g.serve(0)
	a, b := g.attach(1, 1), g.attach(2, 2)
	quiet(a, b)
	wantGood(t, a.run(a.newTask(reserve6CDB)))
	record := g.record()
	a.Detach()
	g.crash(record)
	a = g.attach(1, 1)
	g.serve(0)
	quiet(a, b)
	wantBusy(t, b.tur())
	wantBusy(t, a.run(a.newTask(reserve6CDB)))
	u := g.gates[0].unit
	u.Sweep(func(p san.TPG) bool { return p == 2 })
	u.guard.reading.Wait()
	wantGood(t, a.run(a.newTask(reserve6CDB)))
	wantConflict(t, b.tur())
	g.move(2)
	g.gates[2].unit.Sweep(func(san.TPG) bool { return true })
	wantGood(t, a.tur())
	wantConflict(t, b.tur())
}

// A host that was told of the loss of its nexus, since the link to the owner was
// lost, holds nothing: the next owner knows that, too.
func TestReserve6EndsWithTheLink(t *testing.T) {
	for _, next := range []int{1, 2} {
		g := newGang(t, 3, nil)
		g.serve(0)
		a, b := g.attach(1, 1), g.attach(2, 2)
		quiet(a, b)
		wantGood(t, a.run(a.newTask(reserve6CDB)))
		record := g.record()
		r := g.gates[1].unit.relay
		a.Cut(0, r)
		wantGood(t, a.tur()) // nothing is told before it is known
		a.Opened(0, r, NewLogin())
		g.crash(record)
		wantLoss(t, a)
		g.next(next)
		wantGood(t, b.tur())
		wantGood(t, a.tur())
		if g.holder() {
			t.Error("the record holds it still")
		}
	}
}

// What a host believes to hold, and the next owner knows it does not, is told.
func TestLossOfReserve6IsTold(t *testing.T) {
	for _, next := range []int{1, 2} {
		for _, cut := range []bool{false, true} {
			g := newGang(t, 3, nil)
			g.serve(0)
			a, b := g.attach(1, 1), g.attach(2, 2)
			quiet(a, b)
			wantGood(t, a.run(a.newTask(reserve6CDB)))
			if cut {
				a.Cut(0, g.gates[1].unit.relay)
			}
			g.crash(nil) // it has come to store that the nexus was lost
			g.next(next)
			a.Opened(0, g.gates[1].unit.relay, 0)
			wantGood(t, b.tur())
			wantLoss(t, a)
			wantGood(t, a.tur())
			g.move(0) // once
			wantGood(t, a.tur())
		}
	}
}

// What a relay says that is the unit's no more changes nothing.
func TestLinksOfBefore(t *testing.T) {
	g := newGang(t, 3, nil)
	g.serve(0)
	a := g.attach(1, 1)
	quiet(a)
	r := g.gates[1].unit.relay
	g.move(2)
	a.Cut(0, r)
	a.Opened(0, r, NewLogin())
	wantGood(t, a.tur())
	g.move(0)
	wantGood(t, a.tur())
	for _, l := range []san.LUN{0, 9} {
		a.Opened(l, g.gates[1].unit.relay, 0)
		a.Cut(9, g.gates[1].unit.relay)
	}
	wantGood(t, a.tur())
}

func TestLoginsDiffer(t *testing.T) {
	defer logins.Store(NewLogin())
	logins.Store(1<<64 - 2)
	if a, b := NewLogin(), NewLogin(); a != 1<<64-1 || b != 1 {
		t.Errorf("%x, %x", a, b)
	}
}

// hasty is a relay to an owner that has something to say as soon as it knows of
// a nexus.
type hasty struct{ *memRelay }

func (r hasty) Join(n *Nexus, l san.LUN, s Standing) {
	told := make(chan struct{})
	go func() { n.Told(l, Event{Attention: scsi.ASCDeviceReset}, func() { close(told) }) }()
	<-told
	r.memRelay.Join(n, l, s)
}

// It is told before the login is over.
func TestToldWhileItLogsIn(t *testing.T) {
	g := newGang(t, 2, nil)
	g.serve(0)
	g.gates[1].unit.RelayTo(g.epoch, hasty{newMemRelay(g.epoch, g.gates[0].unit)})
	wantGood(t, g.attach(1, 1).tur())
}
