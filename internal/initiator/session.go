package initiator

import (
	"context"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// Session is one session with a target, of one connection, in full feature
// phase. Its methods may be called from any goroutine.
type Session struct{}

type commandState uint8

// Login connects to cfg.Portal and logs in to cfg.Target, following up to
// maxRedirects redirections. An error of the target's is an *iscsi.LoginError.
func Login(ctx context.Context, cfg Config) (*Session, error) { return nil, nil }

// Submit queues c, within the command window of the target and
// Config.QueueDepth in the order of the calls, and returns at once.
func (s *Session) Submit(c *Command) {}

// Do submits c and waits for it. When ctx ends before, it aborts the task, and
// waits for that: c.Err is ErrAborted then, or c was just answered. Where the
// target does not answer the abort either the session ends. It returns c.Err.
func (s *Session) Do(ctx context.Context, c *Command) error { return nil }

// Manage sends a task management request and waits for its answer. Commands
// that a successful one ends (all of the LUN with AbortTaskSet and
// LogicalUnitReset, all of the session with the target resets) end with
// ErrAborted before it returns. For AbortTask see AbortCommand.
func (s *Session) Manage(ctx context.Context, f iscsi.TaskFunction, lun [8]byte) (iscsi.TaskResult, error) {
	return 0, nil
}

// AbortCommand ends c, which was submitted, with ErrAborted: at once where it
// was not sent yet, else by ABORT TASK. It returns when Done was called, which
// may also be because c was answered or the session ended.
func (s *Session) AbortCommand(ctx context.Context, c *Command) error { return nil }

// Ping sends a NOP-Out and waits for its answer.
func (s *Session) Ping(ctx context.Context) error { return nil }

// Logout waits for no command: what is unanswered ends with a *LostError with
// ErrClosed. It returns when the session is gone; the error says whether the
// target agreed.
func (s *Session) Logout(ctx context.Context) error { return nil }

// Abort ends the session because of reason at once and abortively, and returns
// when every command has ended and Lost was called. It must not be called from
// a callback, since it waits for those: see Drop.
func (s *Session) Abort(reason error) {}

// Drop begins what Abort does and does not wait.
func (s *Session) Drop(reason error) {}

// Err returns why the session ended or is ending, nil while it serves.
func (s *Session) Err() error { return nil }

// Done is closed when the session has ended: every command was given back.
func (s *Session) Done() <-chan struct{} { return nil }

// Params returns what was negotiated.
func (s *Session) Params() iscsi.Params { return iscsi.Params{} }

// TPG returns the target's portal group tag; ok is false where it named none.
func (s *Session) TPG() (tag san.TPG, ok bool) { return 0, false }

// TSIH returns the target's handle of the session.
func (s *Session) TSIH() uint16 { return 0 }

// TargetAlias returns what the target calls itself for people, or "".
func (s *Session) TargetAlias() string { return "" }

// Portal returns the host:port that the session is connected to, after
// redirections.
func (s *Session) Portal() string { return "" }

// Instance returns the instance that the login named, and whether the target
// took note of it: only then can it be fenced (docs/fence.md).
func (s *Session) Instance() (i san.Instance, noted bool) { return san.Instance{}, false }

// Stats are counters of a session.
type Stats struct {
	Commands          uint64 // answered, with whatever status
	BytesIn, BytesOut uint64 // of commands' data
	Waiting           int    // commands not yet sent
	Active            int    // commands with the target
	Window            int    // how many more the target lets in
	PingMicros        int64  // round trip of the last ping, µs; 0 without one
	WireIn, WireOut   uint64 // bytes on the connection
	PDUsIn, PDUsOut   uint64
	Writes, Reads     uint64 // system calls
}

// Stats returns the counters of the moment.
func (s *Session) Stats() Stats { return Stats{} }

// Discover asks cfg.Portal for its targets by SendTargets: all that this
// initiator may see, or cfg.Target alone where that is not empty.
func Discover(ctx context.Context, cfg Config) ([]iscsi.TargetRecord, error) { return nil, nil }

// NewISID returns a random ISID (RFC 7143 §11.12.5, type 2).
func NewISID() san.ISID { return san.ISID{} }
