package gateway

import (
	"slices"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

// Which target ports a gateway has comes with its registration, and with another
// change of the metadata than its life: one that lives may be without it for a
// moment. Then the ports count that it registered last.

// setPorts notes the ports of those that live, and reports whether it knows those
// of all others. m.mu is held.
func (m *member) setPorts() (all bool) {
	ports := map[model.Member]func(san.TPG) bool{}
	all = true
	for _, g := range m.gateways {
		if g.Life != model.Alive {
			continue
		}
		who := g.Member()
		of := m.n.view.portsOf(string(g.ID))
		if of == nil {
			of = m.ports[who]
		}
		if of != nil {
			ports[who] = of
		} else if who != m.self {
			all = false
		}
	}
	m.ports = ports
	return all
}

// portsOf returns a function that tells the target ports of a gateway. m.mu is
// held.
func (m *member) portsOf(who model.Member) func(san.TPG) bool {
	if of := m.n.view.portsOf(string(who.Gateway)); of != nil {
		return of
	}
	if of := m.ports[who]; of != nil {
		return of
	}
	return func(san.TPG) bool { return false }
}

// known returns for which ports it is known now which nexuses there are: those
// of this gateway, and of gateways that do not live, which have none. Others tell
// by and by (synced).
func (m *member) known() func(san.TPG) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.setPorts() { // any other port may be that of who has not registered
		m.owed = true
		return m.portsOf(m.self)
	}
	return m.othersNot()
}

// sweepOwed has done what known left out. m.mu is held.
func (m *member) sweepOwed() {
	if m.setPorts() && m.owed {
		m.owed = false
		m.sweep(m.othersNot())
	}
}

// othersNot holds for the ports that no other gateway has that lives. m.mu is
// held, and the ports are noted.
func (m *member) othersNot() func(san.TPG) bool {
	var others []func(san.TPG) bool
	for who, of := range m.ports {
		if who != m.self {
			others = append(others, of)
		}
	}
	return func(p san.TPG) bool {
		return !slices.ContainsFunc(others, func(of func(san.TPG) bool) bool { return of(p) })
	}
}
