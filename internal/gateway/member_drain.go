package gateway

import (
	"slices"
	"sync"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/pause"
	"sango/internal/target"
)

// drainLook is how often the gateway looks whether it is being drained.
const drainLook = 300 * time.Millisecond

// followDrain has the sessions of hosts go once the gateway is drained of
// volumes, and lets them come again afterwards. Until then they are served
// through the others. When another one takes sessions again, those that it sent
// here go back.
func (m *member) followDrain() {
	var leaving sync.WaitGroup
	defer leaving.Wait()
	drained := false
	since := map[model.GatewayID]time.Time{}
	for pause.For(m.n.run, drainLook) {
		draining, has, ok := m.runtime.Drained(m.n.run)
		switch {
		case !ok:
			continue
		case draining && has == 0 && !drained:
			drained = true
			m.n.draining.Store(true)
			leaving.Go(func() { m.n.drain(m.n.run) })
		case !draining && drained:
			drained = false
			leaving.Wait()
			m.n.draining.Store(false)
			m.n.server.Undrain()
		}
		if all, ok := m.runtime.Drains(m.n.run); ok {
			m.drains(since, all)
		}
	}
}

// drains notes who is being drained. since has when each began to be.
func (m *member) drains(since map[model.GatewayID]time.Time, all []model.GatewayID) {
	m.mu.Lock()
	m.draining = all
	m.mu.Unlock()
	for id, t := range since {
		if !slices.Contains(all, id) {
			delete(since, id)
			m.sendHome(t)
		}
	}
	for _, id := range all {
		if since[id].IsZero() {
			since[id] = time.Now()
		}
	}
}

// sendHome asks sessions that are here probably because another gateway sent
// them, after since, to log out: their hosts had one here already.
func (m *member) sendHome(since time.Time) {
	type name struct{ initiator, target string }
	had := map[name]bool{}
	for _, i := range m.n.server.Sessions() {
		if i.Since.Before(since) {
			had[name{i.Initiator, i.Target}] = true
		}
	}
	m.n.server.AskLogout(func(i target.SessionInfo) bool {
		return !i.Since.Before(since) && had[name{i.Initiator, i.Target}]
	})
}

// others returns the other gateways that take sessions.
func (m *member) others() (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.gateways {
		if g.Life == model.Alive && g.Member() != m.self && !slices.Contains(m.draining, g.ID) {
			names = append(names, string(g.ID))
		}
	}
	return names
}
