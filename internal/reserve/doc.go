// Package reserve is the state machine of SCSI reservations: RESERVE/RELEASE
// (SPC-2 §5.5) and persistent reservations (SPC-4 §5.13). It is pure: a State
// and a request in, a new State, a status and effects out. It has no clock, no
// I/O and no goroutines, so that one node and a cluster share it.
//
// A State is never changed: every step that changes something returns a new
// one. So the data path can look at the State in force through one pointer,
// and a step whose record could not be stored is undone by forgetting it.
//
// Registrations belong to an I_T nexus by name: initiator port name and ISID,
// target name and portal group tag. They outlive the session. ALL_TG_PT
// registers the initiator port with every port that the target has at that
// time, each of them a registration of its own (SPC-4 §6.15.5 lets READ FULL
// STATUS report them so).
package reserve
