// Package model decides who may serve a volume, and who counts as alive
// (DESIGN R1 to R6 and §5). Package cluster runs it. docs/cluster-model.md
// tells the protocol from its records to its invariants, test/spin checks a
// second model of it.
//
// There are two machines. Every gateway runs a Gateway, which holds the right
// to serve, opens and closes volumes and says what may be admitted; the
// elected one runs a Coordinator beside it, which declares deaths and moves
// volumes. They meet in the records of the metadata store alone. Both are
// Step(now, event) → effects: no clock, no I/O, no goroutines. Their owner
// serialises the events, brings the time of its own monotonic clock with each,
// calls Step with a Tick at the instant that Wake tells, and does what the
// effects say, in any order, one answer for each that asks for one.
//
// Nothing is decided on what a machine believes: every change is a transaction
// guarded by the revisions of the records it was decided on (Txn).
package model
