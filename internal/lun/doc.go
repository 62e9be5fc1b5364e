// Package lun is the SCSI device server: tasks in, status out. It knows
// nothing of iSCSI; package target is its transport.
//
// Two halves, so that a cluster of gateways fits (DESIGN R1). The half of the
// nexus (Target, Nexus) keeps what belongs to the gateway a host talks to: the
// LUN map, unit attentions, target port groups and their states. The half of
// the owner (Unit) keeps what belongs to the one place where a volume is
// served: the order of commands, reservations, mode pages, execution on a
// block.Device. The first hands a Task to the second; later a relay may stand
// between them.
//
// The life of a task:
//
//	transport           Target/Nexus              Unit
//	 fill Task ──Admit──► LUN, unit attention ──►  parse CDB, set OutLen
//	 solicit OutLen bytes into Task.Out
//	 ──Ready───────────────────────────────────►  order, reservation, execute
//	 ◄──TaskDone──────────────────────────────── status, sense, In
//	 send, then Task.Reset
package lun
