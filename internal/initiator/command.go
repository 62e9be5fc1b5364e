package initiator

import (
	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// MaxTransfer is the longest data of one command, in bytes.
const MaxTransfer = 1<<31 - 1

// senseSize is how much sense data a command keeps (SPC-4 §4.5.1: 252 bytes at
// most).
const senseSize = 252

// Command is one SCSI command. The caller fills in the first part and Submit
// takes it; it must stay where it is, unchanged, until Done. A Command may be
// used again after Done, which makes steady state free of allocations.
type Command struct {
	LUN  [8]byte // san.LUN.Field
	CDB  scsi.CDB
	Attr scsi.TaskAttr
	// Out is the data to send, In the room for the data to receive, which goes
	// straight there; the sum of their lengths is the expected data transfer
	// length. At most one of them holds bytes.
	Out, In [][]byte
	// Done is called once, by any goroutine, and must not block, nor call a
	// method that waits. It may submit, also this command. Do sets it.
	Done func(*Command)
	User any // for the caller

	// Status is valid where Err is nil, and so are the fields up to Residual.
	Status scsi.Status
	// Sense is what the target sent as sense data, at most 252 bytes. It
	// belongs to the command.
	Sense []byte
	// Got is the number of bytes of In that were received, which is every byte
	// up to there.
	Got int
	// Residual is what the target says, and an underflow where it answered GOOD
	// to a write without having taken all of Out.
	Residual iscsi.Residual
	// Err is not nil where the command was not answered: a *LostError where its
	// session ended, ErrAborted where task management ended it, a
	// *FailureError where the target could not run it, a *UsageError where it
	// could not be sent.
	Err error
	// Sent is false only if no byte of the command was handed to the socket, or
	// the target refused it because it waits for a logout: it can't have been
	// executed. It is set whatever the outcome.
	Sent bool

	slot   int // while the target has it, else −1; guarded by Session.mu
	length int // of the data, bytes
	next   *Command
	sense  [senseSize]byte
}
