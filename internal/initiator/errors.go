package initiator

import (
	"errors"
	"fmt"

	"sango/internal/iscsi"
)

// ErrAborted ends a command that task management aborted: ABORT TASK, or a
// reset of its logical unit or target. It is not executed any more, but may
// have been executed in part or in full.
var ErrAborted = errors.New("the command was aborted by task management")

// ErrClosed is why a session ended that was logged out, or a Keeper that was
// stopped.
var ErrClosed = errors.New("the session was closed")

// ErrNoAnswer is why a session ended whose target answered neither a ping nor a
// task management request in time.
var ErrNoAnswer = errors.New("the target does not answer")

// ErrHangUp is why a session ended whose connection the target closed.
var ErrHangUp = errors.New("the target closed the connection")

// ErrTargetEnds is why a session ended that the target asked to end, or said to
// have ended, with an Asynchronous Message.
var ErrTargetEnds = errors.New("the target ends the session")

// ErrDraining is why a session takes no commands any more whose target asked
// for a logout, and why it ends after the last answer. It wraps ErrTargetEnds.
var ErrDraining = fmt.Errorf("%w: it is draining", ErrTargetEnds)

// LostError ends a command that its session left unanswered. Command.Sent tells
// whether the target can have seen it.
type LostError struct {
	Portal string
	Reason error // why the session ended: Session.Err
}

// Error implements error.
func (e *LostError) Error() string {
	return fmt.Sprintf("the session to %s was lost: %v", e.Portal, e.Reason)
}

// Unwrap returns the reason.
func (e *LostError) Unwrap() error { return e.Reason }

// FailureError ends a command that the target answered without a SCSI status:
// the service response "target failure" (RFC 7143 §11.4.3), or a Reject PDU. A
// write may have been executed in part.
type FailureError struct {
	Response iscsi.Response
	Reject   iscsi.RejectReason // 0 without Reject
}

// Error implements error.
func (e *FailureError) Error() string {
	if e.Reject != 0 {
		return fmt.Sprintf("the target rejected the command: %v", e.Reject)
	}
	return fmt.Sprintf("the target failed to run the command: response %#02x", uint8(e.Response))
}

// UsageError says what a caller did wrong. Nothing was sent.
type UsageError struct{ Text string }

// Error implements error.
func (e *UsageError) Error() string { return e.Text }

// PeerError is why a session ended whose target broke the protocol.
type PeerError struct{ Text string }

// Error implements error.
func (e *PeerError) Error() string { return "the target broke the protocol: " + e.Text }

func peerErrorf(format string, args ...any) error {
	return &PeerError{Text: fmt.Sprintf(format, args...)}
}
