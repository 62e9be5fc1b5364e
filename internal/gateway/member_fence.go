package gateway

import (
	"sango/internal/cluster/model"
	"sango/internal/relay"
	"sango/internal/san"
	"sango/internal/scsi"
)

// fence implements target.Config: the other gateways end the sessions of an
// initiator. All that are members have to be asked, so what this one knows of
// them must be current: a session of a gateway of which it has not heard yet
// would go on.
func (m *member) fence(initiator string, l scsi.FenceList, stop <-chan struct{}, done func(bool)) bool {
	fresh := make(chan bool, 1)
	m.runtime.Fresh(func(ok bool) { fresh <- ok })
	m.n.running.Go(func() { // the session that waits is there, so Stop is not past its wait
		select {
		case ok := <-fresh:
			node := m.whole()
			if ok && node != nil && node.Fence(relay.Fence{Initiator: initiator, List: l}, stop, done) {
				return
			}
		case <-stop:
		}
		done(false)
	})
	return true
}

// whole returns the relay of this life, if it knows where each other live member
// is; else nil.
func (m *member) whole() *relay.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.gateways {
		if g.Life == model.Alive && g.Member() != m.self && m.n.view.relayOf(string(g.ID)) == "" {
			m.n.cfg.Log.Warn("a fence has to wait: a gateway has not told where it is reached", "gateway", g.Member())
			return nil
		}
	}
	return m.node
}

// lost returns the volumes whose owners are dead, with these.
func (m *member) lost() map[san.UUID]model.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	alive := map[model.Member]bool{}
	for _, g := range m.gateways {
		if g.Life == model.Alive {
			alive[g.Member()] = true
		}
	}
	all := map[san.UUID]model.Member{}
	for v, o := range m.owners {
		if o.State == model.Active && !alive[o.Owner] {
			all[v] = o.Owner
		}
	}
	return all
}
