// Package lun is the SCSI device server: tasks in, status out. It knows
// nothing of iSCSI; package target is its transport.
//
// Two halves, so that a cluster of gateways fits (DESIGN R1). The half of the
// nexus (Target, Nexus) keeps what belongs to the gateway a host talks to: the
// LUN map, unit attentions, target port groups and their states. The half of
// the owner (Unit) keeps what belongs to the one place where a volume is
// served: the order of commands, reservations, mode pages, execution on a
// block.Device. The first hands a Task to the second at the door of the unit
// (door.go). Every gateway has a Unit of every volume that it maps; who owns
// the volume turns the door:
//
//	open     Serve             into the taskSet: executed here
//	held     Hold, at first    they wait, in order
//	refused  Refuse, Release   02/04/0A
//	away     RelayTo           to the owner, in the order of the nexus, by a Relay;
//	                           what was certainly not executed comes back to the door
//
// At the owner a nexus of another gateway is a Remote, whose tasks meet the
// same taskSet; it is told by events what there is to tell. Commands that
// belong to the front are marked in their descriptors (atFront); where
// reservations or conditions can stop one, or an error found at the front has
// to yield to RESERVATION CONFLICT, the owner is asked first (verdict.go). A
// single node serves at once, and its door costs nothing.
//
// The life of a task:
//
//	transport           Target/Nexus                        Unit
//	 fill Task ──Admit──► LUN, unit attention, port state,
//	                     CDB; set OutLen
//	 solicit OutLen bytes into Task.Out
//	 ──Ready───────────► order among the tasks of the nexus ─► order among all (taskSet), reservation,
//	                                                          readiness, execute: in place or on a worker
//	 ◄──TaskDone─────────────────────────────────────────────  status, sense, In
//	 send, then Task.Reset
//
// Of a large write the transport may have what is there written while the rest
// still comes (Task.Stream, stream.go): it then executes as far as aborting it
// goes, for the time of one piece.
//
// Order comes in two steps: an itl holds a task back until it is complete and
// those of its nexus that go before it have been handed over; the taskSet of
// the unit knows only tasks that could execute at once. So a host that sends no
// data holds up its own tasks alone.
//
// A command is one descriptor (type command) in the file of its family; what
// is not said there is not served, and REPORT SUPPORTED OPERATION CODES tells
// exactly these. A handler returns nil or the error that the command ends with;
// it may start one I/O and return (Task.start), or block if it is on a worker
// (Task.do, Task.mayBlock).
package lun
