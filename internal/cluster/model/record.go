package model

import "sango/internal/san"

// Kind says what a record is of.
type Kind uint8

// The kinds of records.
const (
	KindCounter     Kind = iota + 1 // the last incarnation: one record
	KindCoordinator                 // who coordinates: one record, kept by the election
	KindGateway                     // a gateway's present incarnation
	KindBeat                        // its last heartbeat
	KindDrain                       // there while an administrator wants it empty
	KindFence                       // up to which incarnation it is known to be harmless
	KindVolume                      // what ownership needs to know of a volume
	KindOwner                       // who owns a volume
	KindReservation                 // a volume's reservations
)

// Key names a record.
type Key struct {
	Kind    Kind
	Gateway GatewayID
	Volume  san.UUID
}

// Record is the value of a key: a plain value, never changed once it is
// written.
type Record interface{ Key() Key }

// CounterRecord keeps the last incarnation that was given away.
type CounterRecord struct{ Last Incarnation }

// CoordinatorRecord says who was elected. Its revision is the term.
type CoordinatorRecord struct{ Gateway GatewayID }

// Life is the state of an incarnation.
type Life uint8

// The lives.
const (
	Alive   Life = iota + 1
	Dead         // declared dead, or it left; for this incarnation there is no way back
	Removed      // an administrator took it away; the record goes when no volume names it any more
)

// GatewayRecord is the present incarnation of a gateway. It is written when
// the incarnation begins and when it ends, and never between: so the guard of
// a heartbeat fails only where the incarnation is over.
type GatewayRecord struct {
	ID          GatewayID
	Incarnation Incarnation
	Life        Life
	Why         Reason // that it is dead
}

// Member returns whom the record is of.
func (r GatewayRecord) Member() Member { return Member{r.ID, r.Incarnation} }

// BeatRecord is a heartbeat, with the other members that its gateway can't
// reach. A suspicion lasts until the next heartbeat, which repeats it or not.
type BeatRecord struct {
	ID          GatewayID
	Incarnation Incarnation
	Seq         uint64   // of the incarnation's heartbeats
	Suspects    []Member // that don't answer this gateway
	Leaving     bool     // it gives up what it has, and takes nothing
}

// DrainRecord asks for a gateway to be emptied.
type DrainRecord struct{ ID GatewayID }

// FenceRecord says that nothing which incarnations up to Upto submitted can
// reach a medium any more, of whatever volume. It is written when a command
// has turned the gateway off, when a person confirms that it is off, by the
// next incarnation if it knows, and by one that leaves. It is no part of
// GatewayRecord, since it concerns those who are gone, and must not disturb
// the one who is there.
type FenceRecord struct {
	ID   GatewayID
	Upto Incarnation
}

// Fencing says what makes sure that a former owner's writes can't land any
// more.
type Fencing uint8

// The ways to fence.
const (
	// FenceNone: nothing does. The volume moves from a dead gateway when a
	// person has confirmed that it is off.
	FenceNone Fencing = iota
	// FenceDriver: the driver can shut out one owner at once, and opening the
	// volume does so too: rbd breaks the lock and blocklists its owner,
	// layered on one machine kills the process that holds the lock. Where the
	// attempt of the coordinator fails, R3's wait is enough.
	FenceDriver
	// FenceCommand: a command of the operator turns the whole gateway off.
	FenceCommand
)

// VolumeRecord is what ownership needs to know of a volume.
type VolumeRecord struct {
	ID      san.UUID
	Fencing Fencing
	Prefer  []GatewayID // the gateways that should own it, the best first
}

// first returns the gateway that is preferred to all others, "" for none.
func (r VolumeRecord) first() GatewayID {
	if len(r.Prefer) == 0 {
		return ""
	}
	return r.Prefer[0]
}

// OwnerState is the state of a volume's ownership.
type OwnerState uint8

// The states of ownership. A volume without a record is Free, with epoch 0.
const (
	Free   OwnerState = iota // nobody owns it, and nobody has it open
	Active                   // Owner serves it
	Moving                   // Owner gives it up, then To opens it
)

// OwnerRecord says who owns a volume, under which epoch. Every grant, the
// writing of a To, raises Epoch by one.
type OwnerRecord struct {
	Volume san.UUID
	State  OwnerState
	// Owner serves (Active), or is the one before To (Moving; may be nobody).
	Owner Member
	To    Member
	Epoch san.Epoch // of To while Moving, else of the last owner
	// Released: Owner can't write any more, To may open (Moving).
	Released bool
	Reason   Reason
	// Failed could not open it, last time.
	Failed GatewayID
	// Asked is the one who asked for the move, in the words of the gateway that
	// passed it on (gateway, initiator port and target port, with blanks between):
	// its nexus gets no unit attention.
	Asked string
}

// ReservationRecord keeps the reservations of a volume (R5).
type ReservationRecord struct {
	Volume san.UUID
	Epoch  san.Epoch // of the owner that wrote it
	Data   string    // reserve.State, encoded
}

// Key returns the key of the record.
func (CounterRecord) Key() Key { return Key{Kind: KindCounter} }

// Key returns the key of the record.
func (CoordinatorRecord) Key() Key { return Key{Kind: KindCoordinator} }

// Key returns the key of the record.
func (r GatewayRecord) Key() Key { return Key{Kind: KindGateway, Gateway: r.ID} }

// Key returns the key of the record.
func (r BeatRecord) Key() Key { return Key{Kind: KindBeat, Gateway: r.ID} }

// Key returns the key of the record.
func (r DrainRecord) Key() Key { return Key{Kind: KindDrain, Gateway: r.ID} }

// Key returns the key of the record.
func (r FenceRecord) Key() Key { return Key{Kind: KindFence, Gateway: r.ID} }

// Key returns the key of the record.
func (r VolumeRecord) Key() Key { return Key{Kind: KindVolume, Volume: r.ID} }

// Key returns the key of the record.
func (o OwnerRecord) Key() Key { return Key{Kind: KindOwner, Volume: o.Volume} }

// Key returns the key of the record.
func (r ReservationRecord) Key() Key { return Key{Kind: KindReservation, Volume: r.Volume} }
