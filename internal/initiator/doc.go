// Package initiator is an iSCSI initiator in user space (RFC 7143): discovery,
// login, and sessions of one connection at ErrorRecoveryLevel 0.
//
// # Threads
//
// A session has a reader goroutine, which decodes every PDU that came with one
// read, receives data straight into the buffers of its command, and calls
// Command.Done; a minder goroutine, which keeps time and closes; and at most
// one goroutine that waits for the socket to take more. Whoever queues
// something sends it at once if nobody else does, without ever waiting; while
// the reader works on what came, all that is queued waits for it to finish, and
// goes out in one writev.
//
// # Ownership
//
// A Command and its buffers belong to the session from Submit to Done, and to
// the caller otherwise. Done is called exactly once, when neither socket nor
// reader can touch the buffers any more, with no lock held.
//
// # The end of a session
//
// Whatever goes wrong with the connection or the peer ends the session: the
// connection is closed abortively (SO_LINGER 0, so that the peer can't find
// anything of ours to execute in it later than need be), and every command
// that was not answered ends with a *LostError. Its Sent flag is false only
// where no byte of the command was handed to the socket.
package initiator
