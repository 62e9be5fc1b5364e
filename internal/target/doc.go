// Package target is the iSCSI target engine (RFC 7143): it accepts
// connections on portals, logs initiators in, and carries SCSI tasks between
// them and package lun. A session has one connection (MaxConnections=1,
// ErrorRecoveryLevel=0), so the type conn is both.
//
// # Who owns what
//
// Each connection has one reader goroutine. It owns the input, the login, the
// gathering of write data and the text negotiation; nobody else touches those.
// It never waits for anything but the socket's next bytes, so that a slow
// store or a peer that does not read cannot make received commands grow old
// (DESIGN R4 b, R8):
//
//	        ┌────────────── reader ───────────────┐
//	socket ─► input ─► window ─► command/tmf/nop… ─► lun.Nexus.Admit
//	                                                   │ TaskDone, from
//	socket ◄─ batch ◄── output queue ◄─────────────────┘ any goroutine
//	        └ whoever holds the sending token ┘
//
// A reader that always finds something steps back now and then, so that the
// readers of other connections have their turn; one that gets a command at a
// time polls its socket for a moment before it waits, while that keeps nobody
// from a processor (turn_linux.go, package turns).
//
// conn.mu guards what several goroutines touch: the task table, the command
// window, StatSN, the output queue and the ends of a connection. Nobody waits
// or makes a system call under it. Writing to the socket needs the sending
// token (output.sending): its holder takes items off the queue, turns them into a batch
// and writes it without waiting; when the socket takes no more, a goroutine
// of the connection takes the token over and waits. While the reader works
// through a read it corks the queue, so that all the responses of one read go
// out in one writev.
//
// A task belongs to the reader while held is set (package lun may write what
// is there of its data: Task.Stream), to package lun between Admit (or Ready)
// and TaskDone, and to the holder of the sending token once
// it is in the output queue. TaskDone of a held task only leaves a mark; the
// reader finishes it when it lets go.
//
// registry.mu guards the names of sessions, Server.mu connections, listeners
// and totals. No goroutine holds two of these three locks, or any of them while
// it calls package lun.
package target
