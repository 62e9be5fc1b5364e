package lun

import (
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/san"
	"sango/internal/scsi"
)

// lossy is a device that may have lost something.
type lossy struct {
	block.Device
	lost atomic.Pointer[san.UUID]
}

func (d *lossy) Info() block.Info {
	i := d.Device.Info()
	if id := d.lost.Load(); id != nil {
		i.Lost = *id
	}
	return i
}

func (d *lossy) lose() {
	id := san.NewUUID()
	d.lost.Store(&id)
}

func synchronizeCache(w *wire) *Task { return w.run(w.newTask([]byte{0x35})) }

func wantLost(t *testing.T, task *Task) {
	t.Helper()
	wantSense(t, task, scsi.MediumError, scsi.ASCWriteError)
}

// Where a flush failed before the volume was opened, every nexus is told once,
// through whichever gateway, and by the next owner too if it was not told before.
func TestLostIsToldToEachNexus(t *testing.T) {
	g := newGang(t, 3, nil)
	d := &lossy{Device: g.disc.Device}
	g.disc.Device = d
	g.serve(0)
	a, b, c := g.attach(0, 1), g.attach(1, 2), g.attach(2, 3)
	for _, w := range []*wire{a, b, c} {
		wantGood(t, synchronizeCache(w))
	}
	for range 2 {
		d.lose() // the flush that failed
		g.move(1)
		for _, w := range []*wire{a, b, c} {
			w.settle()
		}
		wantGood(t, a.run(a.out(512, 0x2a, 8, 0, 0, 0, 1, 0, 0, 1, 0), make([]byte, 512)...)) // FUA
		for _, w := range []*wire{a, b} {
			wantLost(t, synchronizeCache(w))
			wantGood(t, synchronizeCache(w))
			wantGood(t, synchronizeCache(w))
		}
		g.move(0)
		for _, w := range []*wire{a, b, c} {
			w.settle()
		}
		wantGood(t, synchronizeCache(a))
		wantLost(t, c.run(c.newTask([]byte{0x1b}))) // STOP
		wantGood(t, synchronizeCache(b))
		wantGood(t, synchronizeCache(c))
	}
}

// The answer may be lost with its session: who comes again is told again, unless
// it went on under the same login.
func TestLostIsToldAgainAfterALostSession(t *testing.T) {
	for _, shared := range []bool{false, true} {
		v, st := testVolume(), newStore()
		d := &lossy{Device: memDevice(t, v)}
		d.lose()
		open := func() *Unit {
			u, err := NewUnit(v, keepOpen{d}, st, UnitOptions{Shared: shared, Logger: silent})
			if err == nil && shared {
				err = u.Serve(1)
			}
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		u := open()
		tg := oneUnit(u)
		for range 3 {
			w := attach(t, tg, nexusName(1), "")
			wantLost(t, synchronizeCache(w))
			w.Detach()
		}
		w := attach(t, tg, nexusName(1), "")
		wantLost(t, synchronizeCache(w))
		wantGood(t, synchronizeCache(w))
		w.Detach()
		w = attach(t, tg, nexusName(1), "")
		wantGood(t, synchronizeCache(w))
		// Nor after a restart.
		other := attach(t, tg, nexusName(2), "")
		wantLost(t, synchronizeCache(other))
		if err := u.Close(); err != nil {
			t.Fatal(err)
		}
		u = open()
		tg = oneUnit(u)
		w, other = attach(t, tg, nexusName(1), ""), attach(t, tg, nexusName(2), "")
		wantGood(t, synchronizeCache(w))
		wantLost(t, synchronizeCache(other))
		if err := u.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A host that comes long after the others were told wrote nothing before.
func TestLostIsForgotten(t *testing.T) {
	v := testVolume()
	d := &lossy{Device: memDevice(t, v)}
	d.lose()
	u := localUnit(t, v, d, nil, UnitOptions{Logger: silent})
	tg := oneUnit(u)
	w := attach(t, tg, nexusName(1), "")
	wantLost(t, synchronizeCache(w))
	wantGood(t, synchronizeCache(w))
	u.lost.mu.Lock()
	u.lost.rec.Since = time.Now().Add(-lostKept)
	u.lost.mu.Unlock()
	wantGood(t, synchronizeCache(attach(t, tg, nexusName(2), "")))
	d.lose()
	wantLost(t, synchronizeCache(w))
}

// keepOpen does not close what is below.
type keepOpen struct{ block.Device }

func (keepOpen) Close() error { return nil }

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))
