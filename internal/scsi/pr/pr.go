// Package pr holds the codecs of persistent reservations: the parameter data
// of PERSISTENT RESERVE IN, the parameter lists of PERSISTENT RESERVE OUT, and
// TransportIDs (SPC-4 §6.15, §6.16, §7.6.4).
package pr

import (
	"fmt"

	"sango/internal/scsi"
)

// Service actions of PERSISTENT RESERVE IN (SPC-4 table 194).
const (
	ReadKeys           scsi.ServiceAction = 0
	ReadReservation    scsi.ServiceAction = 1
	ReportCapabilities scsi.ServiceAction = 2
	ReadFullStatus     scsi.ServiceAction = 3
)

// Service actions of PERSISTENT RESERVE OUT (SPC-4 table 203).
const (
	Register          scsi.ServiceAction = 0
	Reserve           scsi.ServiceAction = 1
	Release           scsi.ServiceAction = 2
	Clear             scsi.ServiceAction = 3
	Preempt           scsi.ServiceAction = 4
	PreemptAndAbort   scsi.ServiceAction = 5
	RegisterAndIgnore scsi.ServiceAction = 6 // REGISTER AND IGNORE EXISTING KEY
	RegisterAndMove   scsi.ServiceAction = 7
)

// Key is a reservation key.
type Key uint64

// ScopeLU is the one scope of a persistent reservation: the logical unit
// (SPC-4 table 198).
const ScopeLU uint8 = 0

// Type is the type of a persistent reservation (SPC-4 table 199).
type Type uint8

// The types.
const (
	WriteExclusive                 Type = 1
	ExclusiveAccess                Type = 3
	WriteExclusiveRegistrantsOnly  Type = 5
	ExclusiveAccessRegistrantsOnly Type = 6
	WriteExclusiveAllRegistrants   Type = 7
	ExclusiveAccessAllRegistrants  Type = 8
)

// Types lists all types.
func Types() []Type {
	return []Type{
		WriteExclusive, ExclusiveAccess, WriteExclusiveRegistrantsOnly, ExclusiveAccessRegistrantsOnly,
		WriteExclusiveAllRegistrants, ExclusiveAccessAllRegistrants,
	}
}

// Valid reports whether t is one of the types.
func (t Type) Valid() bool {
	switch t {
	case WriteExclusive, ExclusiveAccess, WriteExclusiveRegistrantsOnly, ExclusiveAccessRegistrantsOnly,
		WriteExclusiveAllRegistrants, ExclusiveAccessAllRegistrants:
		return true
	}
	return false
}

// AllRegistrants reports whether every registrant holds a reservation of
// type t.
func (t Type) AllRegistrants() bool {
	return t == WriteExclusiveAllRegistrants || t == ExclusiveAccessAllRegistrants
}

// Registrants reports whether every registrant has the access of the holder.
func (t Type) Registrants() bool {
	return t.AllRegistrants() || t == WriteExclusiveRegistrantsOnly || t == ExclusiveAccessRegistrantsOnly
}

// Exclusive reports whether the type keeps readers away too.
func (t Type) Exclusive() bool {
	return t == ExclusiveAccess || t == ExclusiveAccessRegistrantsOnly || t == ExclusiveAccessAllRegistrants
}

// String returns the name of SPC-4.
func (t Type) String() string {
	switch t {
	case 0:
		return "none"
	case WriteExclusive:
		return "Write Exclusive"
	case ExclusiveAccess:
		return "Exclusive Access"
	case WriteExclusiveRegistrantsOnly:
		return "Write Exclusive - Registrants Only"
	case ExclusiveAccessRegistrantsOnly:
		return "Exclusive Access - Registrants Only"
	case WriteExclusiveAllRegistrants:
		return "Write Exclusive - All Registrants"
	case ExclusiveAccessAllRegistrants:
		return "Exclusive Access - All Registrants"
	}
	return fmt.Sprintf("type %xh", uint8(t))
}
