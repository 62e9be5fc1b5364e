// Package relay carries SCSI tasks between gateways: from the front, to which
// a host speaks, to the owner, which executes the commands of a volume (DESIGN
// R1). docs/relay.md specifies the protocol; package wire is its frames.
//
// A Node is one gateway's part of it, and both halves:
//
//	front                                                owner
//	lun.Unit ──RelayTo──► Volume (lun.Relay)
//	                        lane: an I_T_L nexus ──────── remote (lun.RemoteTransport) ──► lun.Remote ──► lun.Unit
//	                        call: a task                  task
//	                      line: one link to a peer ────── inbound
//	                        conn: one connection           conn
//
// A peer is another member of the cluster. It is called over several lines, for
// several processors; the first carries the heartbeats that PeerLost and PeerFound
// are made of. A line outlives its connections: it calls again when one is lost. A
// nexus keeps to one line, by its name, and so its tasks keep their order.
//
// What was sent and not answered when a connection is lost: commands that change
// nothing are sent again; the outcome of the others is unknown, and they are
// ended as such when they can't be executed late any more: the owner has answered
// that nothing is left of the former nexus, or its epoch is over, or what it had
// not admitted is too old for it by now (DESIGN R4 c).
//
// Locks: one for each line and each inbound link, which guards all that belongs
// to it; package lun is never called with one of them held.
package relay
