package cluster

import (
	"context"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

// Store is what a Runtime needs of the metadata. NewStore makes one of
// meta.Store; tests have one in memory.
type Store interface {
	// Commit makes a transaction. Where ctx ends before the answer came, that is
	// Unknown. A gateway that is not registered is not made a member, nor is one
	// for whose heartbeats another time was agreed on: Refused.
	Commit(ctx context.Context, t model.Txn) (model.Revision, model.Outcome)
	// Follow tells f a Snapshot, then Changed without a gap, each with the
	// revision up to which everything has been told then; nil: nothing happened
	// up to there. It ends when ctx is done (nil), f fails, or the stream is
	// interrupted. A stream for a coordinator has heartbeats, MoveAsked and
	// Weighed too, in the same order.
	Follow(ctx context.Context, coordinator bool, f func(model.Revision, model.Event) error) error
	// Read is a linearizable read of records; Record is nil, and Rev 0, where
	// there is none.
	Read(ctx context.Context, keys ...model.Key) ([]model.Change, error)
	// Current is a linearizable read of the store's revision: a stream that is
	// told it has told all that was committed before the call.
	Current(ctx context.Context) (model.Revision, error)
	// Campaign waits until m is elected. A process that dies is followed after
	// ttl.
	Campaign(ctx context.Context, m model.Member, ttl time.Duration) (Office, error)
	// Ask tells the coordinator that a host wants a volume moved. Nobody answers.
	Ask(ctx context.Context, a model.MoveAsked) error
	// Weigh tells this coordinator, and those that follow it, how much work volumes
	// are that a gateway has (model.Weighed).
	Weigh(ctx context.Context, id model.GatewayID, work map[san.UUID]int) error
	// Remove makes a gateway's record Removed and forgets what it serves on, in one
	// transaction. ErrRefused: it is alive.
	Remove(ctx context.Context, id model.GatewayID) error
	// Unit is what the unit of a volume keeps beside reservations.
	Unit(id san.UUID) UnitState
}

// Office is the time of a coordinator.
type Office interface {
	// Term is the revision of the CoordinatorRecord.
	Term() model.Revision
	// Lost is closed when it may be over.
	Lost() <-chan struct{}
	// Resign ends it; another may be elected at once.
	Resign(ctx context.Context)
}

// UnitState keeps what a unit must remember (meta.UnitState).
type UnitState interface {
	Load(name string) ([]byte, error)
	Save(name string, b []byte) error
	// Own lets Save succeed only while the record of ownership has this revision.
	Own(revision int64)
}
