package reserve

import (
	"slices"

	"sango/internal/san"
	"sango/internal/scsi/pr"
)

// MaxRegistrations bounds the registrations of a logical unit; one more ends
// with INSUFFICIENT REGISTRATION RESOURCES.
const MaxRegistrations = 1024

// Registration is an I_T nexus registered with a key, which is not 0.
type Registration struct {
	Nexus san.NexusID
	Key   pr.Key
}

// State is the reservations of one logical unit. The zero value has none.
// It is immutable: read its fields through the methods.
type State struct {
	generation uint32 // PRgeneration
	persist    bool   // APTPL of the last registration
	regs       []Registration
	index      map[san.NexusID]int // into regs
	kind       pr.Type             // of the persistent reservation; 0: none
	holder     san.NexusID         // unless kind is 0 or all registrants
	legacy     *san.NexusID        // who holds a RESERVE(6)
	login      uint64              // of it: see Login
}

// Generation returns PRgeneration (SPC-4 §6.15.2).
func (s *State) Generation() uint32 { return s.generation }

// Persists reports whether the registrations survive a loss of power (APTPL).
func (s *State) Persists() bool { return s.persist }

// Registrations returns the registrations in the order in which they were
// made. The caller must not change them.
func (s *State) Registrations() []Registration { return s.regs }

// Type returns the type of the persistent reservation, 0 if there is none.
func (s *State) Type() pr.Type { return s.kind }

// Legacy returns who holds a RESERVE(6), if anyone does.
func (s *State) Legacy() (san.NexusID, bool) {
	if s.legacy == nil {
		return san.NexusID{}, false
	}
	return *s.legacy, true
}

// Login returns the number of the login that holds the RESERVE(6), which tells it
// from later ones of the same nexus: RESERVE ends with the nexus, also where
// nobody sees it end. 0: not known.
func (s *State) Login() uint64 { return s.login }

// Idle reports whether nothing is reserved, so that no command conflicts but
// for RESERVE and RELEASE.
func (s *State) Idle() bool { return s.kind == 0 && s.legacy == nil }

// Registered returns the key with which n is registered.
func (s *State) Registered(n san.NexusID) (pr.Key, bool) {
	i, ok := s.index[n]
	if !ok {
		return 0, false
	}
	return s.regs[i].Key, true
}

// Holds reports whether n holds the persistent reservation.
func (s *State) Holds(n san.NexusID) bool {
	if s.kind.AllRegistrants() {
		_, ok := s.index[n]
		return ok
	}
	return s.kind != 0 && s.holder == n
}

// Reservation returns what READ RESERVATION tells, nil if there is no
// persistent reservation. The key of an all registrants type is 0.
func (s *State) Reservation() *pr.Reservation {
	if s.kind == 0 {
		return nil
	}
	r := &pr.Reservation{Type: s.kind}
	if !s.kind.AllRegistrants() {
		r.Key, _ = s.Registered(s.holder)
	}
	return r
}

// Keys returns what READ KEYS tells: one key for each registration.
func (s *State) Keys() []pr.Key {
	keys := make([]pr.Key, len(s.regs))
	for i, r := range s.regs {
		keys[i] = r.Key
	}
	return keys
}

// FullStatus returns what READ FULL STATUS tells.
func (s *State) FullStatus() []pr.FullStatus {
	list := make([]pr.FullStatus, len(s.regs))
	for i, r := range s.regs {
		list[i] = pr.FullStatus{Key: r.Key, RelativePort: uint16(r.Nexus.Target.TPG), Port: pr.IDOf(r.Nexus.Initiator)}
		if s.Holds(r.Nexus) {
			list[i].Holder, list[i].Type = true, s.kind
		}
	}
	return list
}

// clone returns a copy that a step may change before anyone sees it.
func (s *State) clone() *State {
	c := *s
	c.regs = slices.Clone(s.regs)
	c.index = make(map[san.NexusID]int, len(c.regs)+1)
	for i, r := range c.regs {
		c.index[r.Nexus] = i
	}
	return &c
}

// set registers n with key, or changes its key.
func (s *State) set(n san.NexusID, key pr.Key) {
	if i, ok := s.index[n]; ok {
		s.regs[i].Key = key
		return
	}
	s.index[n] = len(s.regs)
	s.regs = append(s.regs, Registration{n, key})
}

// remove takes away the registrations that gone names, and the reservation
// with its last holder. It returns whose they were.
func (s *State) remove(gone func(Registration) bool) []san.NexusID {
	var lost []san.NexusID
	kept := s.regs[:0]
	clear(s.index)
	for _, r := range s.regs {
		if gone(r) {
			lost = append(lost, r.Nexus)
			continue
		}
		s.index[r.Nexus] = len(kept)
		kept = append(kept, r)
	}
	s.regs = kept
	if s.kind.AllRegistrants() && len(kept) == 0 || !s.kind.AllRegistrants() && s.kind != 0 && slices.Contains(lost, s.holder) {
		s.release()
	}
	return lost
}

// release ends the persistent reservation.
func (s *State) release() { s.kind, s.holder = 0, san.NexusID{} }

// reserve makes n the holder of a persistent reservation.
func (s *State) reserve(n san.NexusID, kind pr.Type) {
	s.kind, s.holder = kind, san.NexusID{}
	if !kind.AllRegistrants() {
		s.holder = n
	}
}
