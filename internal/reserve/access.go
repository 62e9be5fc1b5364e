package reserve

import (
	"sango/internal/san"
	"sango/internal/scsi/pr"
)

// Access is what a command does, as far as reservations care: the rows of the
// tables of SPC-4 §5.13.1 and SBC-3 §4.17 fall into these classes.
type Access uint8

// The classes.
const (
	// AccessNone commands are allowed under every persistent reservation:
	// INQUIRY, TEST UNIT READY, READ CAPACITY, REPORT TARGET PORT GROUPS, ...
	AccessNone Access = iota
	// AccessRead commands are stopped by the exclusive access types: READ,
	// VERIFY, PRE-FETCH, MODE SENSE, ...
	AccessRead
	// AccessWrite commands are stopped by every type: WRITE, UNMAP, WRITE SAME,
	// MODE SELECT, SYNCHRONIZE CACHE, ...
	AccessWrite
)

// Standing is what a nexus is to a persistent reservation.
type Standing uint8

// The standings.
const (
	Stranger   Standing = iota // not registered
	Registrant                 // registered, not the holder
	Holder
)

// stops is the one table of conflicts with persistent reservations: type ×
// standing × access (SPC-4 table 65, SBC-4 table 13). What is not set is
// allowed; the holder always is.
var stops = [9][2][3]bool{
	pr.WriteExclusive:                 {Stranger: {AccessWrite: true}, Registrant: {AccessWrite: true}},
	pr.ExclusiveAccess:                {Stranger: {AccessRead: true, AccessWrite: true}, Registrant: {AccessRead: true, AccessWrite: true}},
	pr.WriteExclusiveRegistrantsOnly:  {Stranger: {AccessWrite: true}},
	pr.ExclusiveAccessRegistrantsOnly: {Stranger: {AccessRead: true, AccessWrite: true}},
	pr.WriteExclusiveAllRegistrants:   {Stranger: {AccessWrite: true}},
	pr.ExclusiveAccessAllRegistrants:  {Stranger: {AccessRead: true, AccessWrite: true}},
}

// Stops reports whether a reservation of type kind stops a command of class a
// from a nexus of standing st.
func Stops(kind pr.Type, st Standing, a Access) bool {
	if st >= Holder || int(kind) >= len(stops) || a > AccessWrite {
		return false
	}
	return stops[kind][st][a]
}

// Standing returns what n is to the persistent reservation.
func (s *State) Standing(n san.NexusID) Standing {
	if s.Holds(n) {
		return Holder
	}
	if _, ok := s.index[n]; ok {
		return Registrant
	}
	return Stranger
}

// Conflicts reports whether the persistent reservation stops a command of
// class a from n. It allocates nothing.
func (s *State) Conflicts(n san.NexusID, a Access) bool {
	if s.kind == 0 || a == AccessNone {
		return false
	}
	return Stops(s.kind, s.Standing(n), a)
}

// HeldByOther reports whether a nexus other than n holds a RESERVE(6). Which
// commands that stops is not for the classes above to say: it stops nearly all
// (SPC-2 table 9).
func (s *State) HeldByOther(n san.NexusID) bool { return s.legacy != nil && *s.legacy != n }
