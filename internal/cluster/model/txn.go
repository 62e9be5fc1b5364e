package model

// Guard holds where the record of Key has revision Rev; 0: where there is none.
type Guard struct {
	Key Key
	Rev Revision
}

// Txn is a change that the store makes as a whole if all guards hold, and not
// at all otherwise. Every record that it writes or deletes is guarded, except
// for a heartbeat: that is guarded by the record of its gateway.
type Txn struct {
	Guards  []Guard
	Puts    []Record
	Deletes []Key
}

// Outcome is how a transaction ended.
type Outcome uint8

// The outcomes.
const (
	Committed Outcome = iota + 1
	Refused           // a guard did not hold: nothing was changed, nor will be
	Unknown           // no answer: it was made, or was not, or will be yet
)

// Reason says why something was decided.
type Reason string

// The reasons of a move, of a grant, or of a death.
const (
	ReasonNew       Reason = "new"       // nobody owned it
	ReasonDead      Reason = "dead"      // the owner has died
	ReasonDrain     Reason = "drain"     // the owner is drained
	ReasonBalance   Reason = "balance"   // the owner has more than others
	ReasonFailback  Reason = "failback"  // a preferred gateway is well again
	ReasonAsked     Reason = "asked"     // a host asked for it, or the administrator
	ReasonLeft      Reason = "left"      // the owner gave it up by itself
	ReasonFailed    Reason = "failed"    // the gateway could not open it, or its medium failed
	ReasonSilent    Reason = "silent"    // no heartbeat
	ReasonSuspected Reason = "suspected" // most others don't reach it
)
