package gateway

import "sango/internal/san"

// A member has a slot for each volume that a LUN maps or that is open here. It
// is forgotten when neither is so any more, and the cluster names no owner: then
// the volume was deleted, or never served.

// found returns the slot of a volume, nil where there is none.
func (m *member) found(v san.UUID) *slot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.slots[v]
}

// taken returns the slot of a volume that is open here.
func (m *member) taken(v san.UUID) *slot {
	if s := m.found(v); s != nil {
		return s
	}
	return newSlot(m, v) // it isn't: there is nothing to do but to answer
}

// pin returns the slot of a volume, and makes it where there is none. It stays
// until unpin.
func (m *member) pin(v san.UUID) *slot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.slots[v]
	if s == nil {
		s = newSlot(m, v)
		s.rec = m.owners[v]
		m.slots[v] = s
	}
	s.pins++
	return s
}

// unpin ends a pin.
func (m *member) unpin(s *slot) {
	m.mu.Lock()
	s.pins--
	m.mu.Unlock()
	m.tidy(s)
}

// tidy forgets a slot that nobody needs any more.
func (m *member) tidy(s *slot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, owned := m.owners[s.id]; owned || s.mapped != nil || s.pins > 0 || m.slots[s.id] != s {
		return
	}
	s.mu.Lock()
	used := s.taken || s.busy
	s.mu.Unlock()
	if !used {
		delete(m.slots, s.id)
		m.runtime.Forget(s.id) // with the lock: whoever opens it next has been told of an owner before
	}
}

// attach gives the slot of a volume the unit that was made for it.
func (m *member) attach(u *unit) {
	m.mu.Lock()
	s := m.slots[u.unit.Volume().ID] // who made the unit has pinned it
	s.mapped = u
	m.tellGroups(s)
	m.mu.Unlock()
	s.do(func() { s.attach(u.unit) })
}

// detach takes a unit away, which is no longer mapped.
func (m *member) detach(u *unit) {
	m.mu.Lock()
	s := m.slots[u.unit.Volume().ID]
	s.mapped = nil
	s.pins++
	m.mu.Unlock()
	defer m.unpin(s)
	s.wait(s.detach)
}
