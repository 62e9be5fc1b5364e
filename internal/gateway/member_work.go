package gateway

import (
	"maps"
	"math"
	"time"

	"sango/internal/pause"
	"sango/internal/san"
)

// The work of a volume is requests a second, and 64 KiB a second that they move,
// together: what both cost the gateway that executes them.
const (
	workUnit = 64 << 10 // bytes that are as much work as one request

	// A volume with less is idle: nobody is told of it.
	workIdle = 100
	// One that was told of as idle, or otherwise, is told of again when it is so
	// much more or less, and by half.
	workMore = 250

	workLook   = 10 * time.Second // how often it is looked at
	workSmooth = 6                // looks that what is told is a mean of, about
	workKnown  = 2                // looks until it is told first
	workTell   = 3                // looks between two times at which it is told
)

// effort is the work of a volume, smoothed.
type effort struct {
	done  uint64  // at the last look
	rate  float64 // a second; of the time before the first look nothing
	share float64 // of the whole that has been measured yet
	looks int
}

// look takes what has been done until now, and returns the work of the last minute
// or so, 0 where that is not known yet. It costs idle volumes some nanoseconds.
func (w *effort) look(done uint64, since time.Duration) int {
	did := done - w.done
	w.done = done
	if w.looks++; w.looks == 1 || since <= 0 {
		return 0 // it was opened in between
	}
	const part = 1.0 / workSmooth
	w.rate += part * (float64(did)/workUnit/since.Seconds() - w.rate)
	w.share += part * (1 - w.share)
	if w.looks <= workKnown {
		return 0
	}
	return int(min(math.Round(w.rate/w.share), math.MaxInt32))
}

// workOf is what is told of all the volumes of a gateway.
type workOf struct {
	told map[san.UUID]int
	wait int       // looks until it may be told again
	last time.Time // look
}

// news reports whether the work of volumes has become something else than what
// was told. A volume that is gone, or idle, is told of by not being named.
func (t *workOf) news(now map[san.UUID]int) bool {
	if t.told == nil {
		return true // of a former process there may be something
	}
	for v, w := range now {
		old := t.told[v]
		if more, less := max(w, old), min(w, old); more-less >= workMore && 2*more >= 3*less {
			return true
		}
	}
	for v := range t.told {
		if now[v] == 0 {
			return true
		}
	}
	return false
}

// followWork measures the work of the volumes that are served here, and tells the
// cluster of it, for balance: all of them in one record, and only where something
// has changed by much.
func (m *member) followWork() {
	t := workOf{last: time.Now()}
	look := m.n.cfg.workLook
	if look == 0 {
		look = workLook
	}
	for pause.For(m.n.run, look) {
		now := m.measure(&t)
		if t.wait--; t.wait > 0 || !t.news(now) {
			continue
		}
		if err := m.runtime.Weigh(m.n.run, now); err != nil {
			m.n.cfg.Log.Debug("the work of volumes can't be told", "error", err)
			continue
		}
		t.told, t.wait = maps.Clone(now), workTell
	}
}

// measure returns the work of the volumes that are served here and not idle.
func (m *member) measure(t *workOf) map[san.UUID]int {
	at := time.Now()
	since := at.Sub(t.last)
	t.last = at
	now := map[san.UUID]int{}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, s := range m.slots {
		if o := s.dev.dev.Load(); o != nil {
			if w := o.effort.look(o.done.Load(), since); w >= workIdle {
				now[id] = w
			}
		}
	}
	return now
}
