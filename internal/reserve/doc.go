// Package reserve is the state machine of SCSI reservations: RESERVE/RELEASE
// (SPC-2 §5.5) and persistent reservations (SPC-4 §5.13). It is pure: State and
// a request in, a new State, a verdict and effects out. It has no clock, no I/O
// and no goroutines, so that one node and a cluster share it.
package reserve
