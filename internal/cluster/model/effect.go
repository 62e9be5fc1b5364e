package model

import "sango/internal/san"

// Effect is something to do.
type Effect interface{ effect() }

// Propose asks the store for a transaction. Answered by Answered with the same
// ID, also where the answer never comes (Unknown).
type Propose struct {
	ID  uint64
	Txn Txn
}

// Fence asks for the writes of a member that is gone to be shut out: from one
// volume by its driver, or, where Volume is zero, from everything by the
// operator's command. Answered by FenceEnded.
type Fence struct {
	Member Member
	Volume san.UUID
}

// Effects of a Gateway.
type (
	// Joined: the gateway is a member from now on, under this name.
	Joined struct{ Member Member }
	// RightLost: the right to serve has run out. Sessions are dropped, and no
	// new one is let in until RightBack.
	RightLost struct{}
	// RightBack: there is a right again. The first one too.
	RightBack struct{}
	// Fenced: the member is over. Sessions are dropped, every queue is thrown
	// away, all that is under way is cancelled. Each volume gets a Close.
	Fenced struct{}
	// Rejoin: all that was open is closed; the process starts again as new,
	// with another Gateway. The last effect of this one.
	Rejoin struct{}
	// Left answers Leave. The last effect of this Gateway.
	Left struct{}

	// Open opens the volume under the epoch, shuts out its former owners as
	// far as the driver can, and loads its reservations. Answered by Opened or
	// OpenFailed.
	Open struct {
		Volume san.UUID
		Epoch  san.Epoch
	}
	// Serve: commands are admitted, under the epoch.
	Serve struct {
		Volume san.UUID
		Epoch  san.Epoch
	}
	// Prepare makes stable what is written, while commands go on: so there is
	// little left to flush when they wait. Answered by Prepared, once; Hold does
	// not wait for that for ever.
	Prepare struct{ Volume san.UUID }
	// Hold: new commands wait. Answered by Drained when none is under way.
	Hold struct{ Volume san.UUID }
	// Refuse: new and held commands are answered with 02/04/0A.
	Refuse struct{ Volume san.UUID }
	// Cancel: what is under way has had its time, and is to end.
	Cancel struct{ Volume san.UUID }
	// Flush makes stable what is written. Answered by Flushed.
	Flush struct{ Volume san.UUID }
	// Close closes the volume; held commands are answered with 02/04/0A.
	// Answered by Closed when nothing of it can touch the medium any more.
	Close struct{ Volume san.UUID }

	// Reserved answers Reserve: Committed: answer GOOD. Refused: the volume
	// has moved, nothing changed. Unknown: nobody knows, the session ends.
	Reserved struct {
		Volume  san.UUID
		Outcome Outcome
	}
	// Stop: nothing of the volume is executed until Resume, since what is
	// reserved is not known.
	Stop struct{ Volume san.UUID }
	// Resume: go on, with these reservations.
	Resume struct {
		Volume san.UUID
		Data   string
	}
	// ReadReservation asks for a linearizable read. Answered by
	// ReservationRead.
	ReadReservation struct{ Volume san.UUID }

	// Publish: the view says something new of the volume. Relays and port
	// states follow it: see Gateway.Ports.
	Publish struct {
		Volume san.UUID
		Record OwnerRecord
	}
	// Prefer: this is the gateway that should own the volume before all others;
	// "": it makes no difference.
	Prefer struct {
		Volume  san.UUID
		Gateway GatewayID
	}
	// PublishGateways: a gateway came or went: the states of its ports follow.
	PublishGateways struct{}
	// Attend: raise ASYMMETRIC ACCESS STATE CHANGED (06/2A/06) for every nexus
	// of the volume on this gateway, but for Asked. It comes before the Publish
	// that it is about: no command meets the new owner before it.
	Attend struct {
		Volume san.UUID
		Asked  string
	}
	// Forget: the volume was deleted, and is not open here: nothing will be said
	// of it any more.
	Forget struct{ Volume san.UUID }
)

func (Propose) effect()         {}
func (Fence) effect()           {}
func (Joined) effect()          {}
func (RightLost) effect()       {}
func (RightBack) effect()       {}
func (Fenced) effect()          {}
func (Rejoin) effect()          {}
func (Left) effect()            {}
func (Open) effect()            {}
func (Serve) effect()           {}
func (Prepare) effect()         {}
func (Hold) effect()            {}
func (Refuse) effect()          {}
func (Cancel) effect()          {}
func (Flush) effect()           {}
func (Close) effect()           {}
func (Reserved) effect()        {}
func (Stop) effect()            {}
func (Resume) effect()          {}
func (ReadReservation) effect() {}
func (Publish) effect()         {}
func (Prefer) effect()          {}
func (PublishGateways) effect() {}
func (Attend) effect()          {}
func (Forget) effect()          {}
