package model

import "sango/internal/san"

// Event is something that happened.
type Event interface{ event() }

// Change is what happened to a record.
type Change struct {
	Rev    Revision // of the transaction
	Key    Key
	Record Record // nil: deleted
}

// Events for both machines.
type (
	// Snapshot is the whole store at a revision: at the start, and whenever the
	// stream of changes was interrupted.
	Snapshot struct {
		Rev     Revision
		Changes []Change
	}
	// Changed are the changes of one or more transactions, in the order of
	// their revisions, following what was told before without a gap.
	Changed struct{ Changes []Change }
	// Answered answers a Propose. Rev is the revision of a committed
	// transaction.
	Answered struct {
		ID      uint64
		Outcome Outcome
		Rev     Revision
	}
	// Tick: time has passed. Wanted at the instant that Wake tells; any other
	// time does no harm.
	Tick struct{}
)

// Events for a Coordinator.
type (
	// Elected: this process coordinates from now on. Term is the revision of
	// the CoordinatorRecord.
	Elected struct{ Term Revision }
	// Deposed: it does not any more.
	Deposed struct{}
	// FenceEnded answers a Fence. Volume zero: the whole member is fenced.
	FenceEnded struct {
		Member Member
		Volume san.UUID
		OK     bool
	}
	// MoveAsked: a host asks for the volume to move (SET TARGET PORT GROUPS), or
	// the Administrator does.
	MoveAsked struct {
		Volume san.UUID
		To     GatewayID
		Asked  string // see OwnerRecord
	}
	// Weighed tells how much work the volumes are that a gateway has: all that are
	// worth a word. Nobody changes Work any more.
	Weighed struct {
		Gateway GatewayID
		Work    map[san.UUID]int
	}
)

// Administrator is who asked, in MoveAsked and OwnerRecord, where it was no
// host: no nexus is called so. Hosts may insist on different gateways; people
// know what they do, and wait for nothing.
const Administrator = "administrator"

// Events for a Gateway.
type (
	// Start: the process is up, its portals are ready to be told.
	Start struct{}
	// Leave: the process is to end. What it owns is given up, then comes Left.
	Leave struct{}
	// PeerLost and PeerFound tell whether another member answers.
	PeerLost struct{ Member Member }
	// PeerFound: see PeerLost.
	PeerFound struct{ Member Member }
	// Opened answers Open: the volume is open under the epoch, all former
	// owners are shut out as far as the driver can, its reservations are
	// loaded (Rev and Data of the record; 0: none).
	Opened struct {
		Volume      san.UUID
		Epoch       san.Epoch
		Reservation Revision
		Data        string
	}
	// OpenFailed answers Open; nothing is open.
	OpenFailed struct {
		Volume san.UUID
		Epoch  san.Epoch
	}
	// Prepared answers Prepare, however that ended.
	Prepared struct{ Volume san.UUID }
	// Drained answers Hold or Cancel: no command of the volume is under way any
	// more. Held and refused ones do not count.
	Drained struct{ Volume san.UUID }
	// Flushed answers Flush, however that ended.
	Flushed struct{ Volume san.UUID }
	// Closed answers Close.
	Closed struct{ Volume san.UUID }
	// Failed: the volume's medium failed and it has to be opened again.
	Failed struct{ Volume san.UUID }
	// Reserve: a PERSISTENT RESERVE OUT leaves Data behind. Answered by one
	// Reserved. One at a time for a volume.
	Reserve struct {
		Volume san.UUID
		Data   string
	}
	// ReservationRead answers ReadReservation: what a linearizable read found,
	// or !OK.
	ReservationRead struct {
		Volume san.UUID
		OK     bool
		Rev    Revision
		Data   string
	}
)

func (Snapshot) event()        {}
func (Changed) event()         {}
func (Answered) event()        {}
func (Tick) event()            {}
func (Elected) event()         {}
func (Deposed) event()         {}
func (FenceEnded) event()      {}
func (MoveAsked) event()       {}
func (Weighed) event()         {}
func (Start) event()           {}
func (Leave) event()           {}
func (PeerLost) event()        {}
func (PeerFound) event()       {}
func (Opened) event()          {}
func (OpenFailed) event()      {}
func (Prepared) event()        {}
func (Drained) event()         {}
func (Flushed) event()         {}
func (Closed) event()          {}
func (Failed) event()          {}
func (Reserve) event()         {}
func (ReservationRead) event() {}
