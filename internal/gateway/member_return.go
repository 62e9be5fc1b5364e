package gateway

import (
	"context"
	"sync"
	"time"

	"sango/internal/defect"
	"sango/internal/pause"
)

// hosts says whether hosts are let in.
type hosts struct {
	mu     sync.Mutex         // guards what follows
	cancel context.CancelFunc // ends the wait to let them in; nil: there never was one
	in     bool
}

// catchUpAgain is the pause before a gateway that has its right back asks the
// metadata again, and catchUpWarn how long it may take until it says so.
const (
	catchUpAgain = 100 * time.Millisecond
	catchUpWarn  = 5 * time.Second
)

// RightLost implements cluster.Driver.
func (m *member) RightLost() {
	if !defect.R3 {
		m.shut()
	}
}

// shut drops all sessions, and lets nobody in.
func (m *member) shut() {
	m.hosts.mu.Lock()
	m.hosts.in = false
	if m.hosts.cancel != nil {
		m.hosts.cancel()
	}
	m.hosts.mu.Unlock()
	m.n.server.Suspend()
}

// RightBack implements cluster.Driver. Hosts are let in when everything is in
// effect that was changed before: whoever took a volume from a host while this
// gateway was away did not wait for it.
func (m *member) RightBack() {
	ctx, cancel := context.WithCancel(m.n.run)
	m.hosts.mu.Lock()
	m.hosts.cancel = cancel
	m.hosts.mu.Unlock()
	m.n.running.Go(func() {
		defer cancel()
		slow := time.AfterFunc(catchUpWarn, func() {
			m.n.cfg.Log.Warn("this gateway has the right to serve, and lets no hosts in before what was changed meanwhile is in effect here")
		})
		defer slow.Stop()
		for !m.catchUp(ctx) && pause.For(ctx, catchUpAgain) {
		}
		m.hosts.mu.Lock()
		defer m.hosts.mu.Unlock()
		if ctx.Err() == nil { // else the right is lost again
			m.n.server.Resume()
			m.hosts.in = true
		}
	})
}

// catchUp waits until everything is in effect that the metadata has now, as far
// as it is about what hosts may see, and reports whether it is.
func (m *member) catchUp(ctx context.Context) bool {
	rev, err := m.n.meta.Current(ctx)
	if err != nil || !m.n.view.waitAccess(ctx, rev) {
		return false
	}
	owners := make(chan bool, 1)
	m.runtime.Fresh(func(ok bool) { owners <- ok })
	select {
	case ok := <-owners:
		return ok
	case <-ctx.Done():
		return false
	}
}

// letsIn reports whether hosts are let in.
func (m *member) letsIn() bool {
	m.hosts.mu.Lock()
	defer m.hosts.mu.Unlock()
	return m.hosts.in
}
