package reserve

import "sango/internal/san"

// passes reports whether RESERVE and RELEASE of n end with GOOD and do
// nothing, because n has the access that it asks for by a persistent
// reservation (CRH, SPC-4 §5.13.3).
func (s *State) passes(n san.NexusID) bool {
	if s.Holds(n) {
		return true
	}
	_, registered := s.index[n]
	return registered && s.kind.Registrants()
}

// Reserve6 is RESERVE from n (SPC-2 §7.22), in the login of that number (see
// Login). ok is false where it conflicts.
// Any registration conflicts with it (SPC-2 §5.5.1), but for the exceptions of
// SPC-4 §5.13.3.
func (s *State) Reserve6(n san.NexusID, login uint64) (next *State, ok bool) {
	switch {
	case len(s.regs) > 0:
		return s, s.passes(n)
	case s.legacy != nil && *s.legacy != n:
		return s, false
	case s.legacy != nil && s.login == login:
		return s, true
	}
	next = s.clone()
	next.legacy, next.login = &n, login
	return next, true
}

// Release6 is RELEASE from n (SPC-2 §7.17): it does nothing where n holds no
// reservation. ok is false where it conflicts, which only a persistent
// reservation or a registration makes it.
func (s *State) Release6(n san.NexusID) (next *State, ok bool) {
	if len(s.regs) > 0 {
		return s, s.passes(n)
	}
	return s.NexusLost(n), true
}

// NexusLost releases what n holds by RESERVE. Registrations and persistent
// reservations outlive the nexus.
func (s *State) NexusLost(n san.NexusID) *State {
	if s.legacy == nil || *s.legacy != n {
		return s
	}
	return s.Reset()
}

// Reset is a logical unit reset: it releases what is held by RESERVE.
func (s *State) Reset() *State {
	if s.legacy == nil {
		return s
	}
	next := s.clone()
	next.legacy, next.login = nil, 0
	return next
}

// PowerOn is the loss of power: registrations and the persistent reservation
// are gone unless APTPL was set (SPC-4 §5.13.5), and so is RESERVE. PRgeneration
// begins again in any case (SPC-4 §6.15.2).
func (s *State) PowerOn() *State {
	if !s.persist {
		return &State{}
	}
	next := s.clone()
	next.legacy, next.login, next.generation = nil, 0, 0
	return next
}
