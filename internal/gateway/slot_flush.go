package gateway

import (
	"context"
	"time"

	"sango/internal/block"
	"sango/internal/pause"
	"sango/internal/san"
)

// What is left to flush when commands are held stops hosts for that time. So
// what came while an earlier flush was under way is flushed too, until it takes
// no longer than flushShort, or does not get shorter.
const (
	flushShort = 30 * time.Millisecond
	flushMost  = 4 // times
)

// Prepare implements cluster.Driver.
func (m *member) Prepare(ctx context.Context, v san.UUID) {
	s := m.taken(v)
	s.end() // they would hold up what comes next
	var before time.Duration
	for i := range flushMost {
		began := time.Now()
		if block.Flush(s.dev) != nil { // Flush says so
			return
		}
		took := time.Since(began)
		if ctx.Err() != nil || took < flushShort || i > 0 && took > before*3/4 {
			return
		}
		before = took
	}
}

// Flush implements cluster.Driver. That it fails is noted with the volume: hosts
// are told by the next owner.
func (m *member) Flush(_ context.Context, v san.UUID) {
	if err := block.Flush(m.taken(v).dev); err != nil {
		m.n.cfg.Log.Error("a volume that moves away can't be flushed: its hosts are told", "volume", v.String(), "error", err)
	}
}

// notedAgain is the wait before what can't be noted is tried again.
const notedAgain = 200 * time.Millisecond

// settled flushes a volume that is going to be closed, and returns when it is
// noted where that failed, now or before: the next owner would take the volume
// for clean. It ends with the node at the latest.
func (m *member) settled(s *slot) {
	_ = block.Flush(s.dev) // what is noted counts
	for first := true; ; first = false {
		err := s.dev.noted()
		if err == nil {
			return
		}
		if first {
			m.n.cfg.Log.Error("a volume is not given up: a flush has failed, and that can't be noted for the next owner", "volume", s.id.String(), "error", err)
		}
		if !pause.For(m.n.run, notedAgain) {
			return
		}
	}
}
