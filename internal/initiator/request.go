package initiator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sango/internal/iscsi"
)

// request is something other than a command that the target answers: task
// management, a ping, a logout.
type request struct {
	op     iscsi.Opcode
	cmdSN  iscsi.CmdSN // that it carries
	fn     iscsi.TaskFunction
	lun    [8]byte
	refITT iscsi.ITT // AbortTask: what is aborted
	sent   time.Time
	timer  *time.Timer // ends the session
	once   sync.Once
	result iscsi.TaskResult
	err    error
	done   chan struct{}
	after  func(error) // called at the end
}

// end ends the request. It is called without a lock held.
func (q *request) end(result iscsi.TaskResult, err error) {
	q.once.Do(func() {
		if q.timer != nil {
			q.timer.Stop()
		}
		q.result, q.err = result, err
		if q.after != nil {
			q.after(err)
		}
		close(q.done)
	})
}

// start makes a task of q and queues its PDU, with s.mu held, which it
// releases. put encodes it with the tag given. An answer that does not come in
// limit ends the session, unless that is 0.
func (s *Session) start(q *request, limit time.Duration, put func(h *iscsi.BHS, itt iscsi.ITT)) {
	q.done = make(chan struct{})
	if s.err != nil {
		lost := s.lost()
		s.mu.Unlock()
		q.end(0, lost)
		return
	}
	s.queue(q, limit, put)
	s.kick()
}

// queue does what start does in a session that has not ended, but for sending,
// and keeps s.mu.
func (s *Session) queue(q *request, limit time.Duration, put func(h *iscsi.BHS, itt iscsi.ITT)) {
	q.sent, q.cmdSN = time.Now(), s.cmdSN
	if limit > 0 {
		q.timer = time.AfterFunc(limit, func() { s.fail(fmt.Errorf("%w: no answer to a %v in %v", ErrNoAnswer, q.op, limit)) })
	}
	t, slot := s.allot(requestTask)
	t.request = q
	var h iscsi.BHS
	put(&h, t.itt(slot))
	s.post(&h, false)
}

// requestResponse takes the answer to a task management request or a logout.
func (s *Session) requestResponse() error {
	var (
		itt      iscsi.ITT
		statSN   iscsi.StatSN
		exp, max iscsi.CmdSN
		result   iscsi.TaskResult
		failed   error
		op       = iscsi.OpTaskRequest
	)
	if s.h.Opcode() == iscsi.OpTaskResponse {
		r, err := iscsi.ParseTaskResponse(&s.h)
		if err != nil {
			return fromPeer(err)
		}
		itt, statSN, exp, max, result = r.ITT, r.StatSN, r.ExpCmdSN, r.MaxCmdSN, r.Result
	} else {
		r, err := iscsi.ParseLogoutResponse(&s.h)
		if err != nil {
			return fromPeer(err)
		}
		itt, statSN, exp, max, op = r.ITT, r.StatSN, r.ExpCmdSN, r.MaxCmdSN, iscsi.OpLogoutRequest
		if r.Result != iscsi.LogoutDone {
			failed = fmt.Errorf("the target refused the logout: response %d", uint8(r.Result))
		}
	}
	if err := s.endData(); err != nil {
		return err
	}
	s.mu.Lock()
	s.window(exp, max)
	t, slot := s.lookup(itt)
	if t == nil || t.kind != requestTask || t.request.op != op {
		s.mu.Unlock()
		return peerErrorf("a %v for task %#08x, which is none", s.h.Opcode(), uint32(itt))
	}
	if err := s.status(statSN); err != nil {
		s.mu.Unlock()
		return err
	}
	q := t.request
	s.release(slot)
	if op == iscsi.OpTaskRequest {
		if err := s.abortAffected(q, result); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	s.endFinished()
	q.end(result, failed)
	return nil
}

// abortAffected ends the commands that a task management request ended, with
// s.mu held: those of before it in the order of CmdSN (RFC 7143 §4.2.3.3).
func (s *Session) abortAffected(q *request, result iscsi.TaskResult) error {
	if result != iscsi.TaskComplete {
		return nil
	}
	for slot := range s.tasks {
		t := &s.tasks[slot]
		if t.kind != scsiTask || t.answered || !t.cmdSN.Before(q.cmdSN) {
			continue
		}
		switch q.fn {
		case iscsi.AbortTask:
			if t.itt(slot) != q.refITT {
				continue
			}
		case iscsi.AbortTaskSet, iscsi.ClearTaskSet, iscsi.LogicalUnitReset:
			if t.cmd.LUN != q.lun {
				continue
			}
		case iscsi.TargetWarmReset, iscsi.TargetColdReset:
		default:
			continue
		}
		if !t.begun {
			return peerErrorf("a task management response before the request")
		}
		t.cmd.Err = ErrAborted
		s.finish(t, slot)
	}
	return nil
}

// manage sends a task management request; prepare, called with s.mu held, fills
// in the rest and may call it off. It returns nil where it did.
func (s *Session) manage(ctx context.Context, f iscsi.TaskFunction, lun [8]byte, prepare func(*iscsi.TaskRequest) bool) (*request, error) {
	select {
	case s.managing <- struct{}{}:
	case <-s.ended:
		return nil, &LostError{Portal: s.cfg.Portal, Reason: s.Err()}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	free := func(error) { <-s.managing }
	r := iscsi.TaskRequest{Immediate: true, Function: f, LUN: lun, RefTag: iscsi.NoITT}
	s.mu.Lock()
	if !prepare(&r) {
		s.mu.Unlock()
		free(nil)
		return nil, nil
	}
	q := &request{op: iscsi.OpTaskRequest, fn: f, lun: lun, refITT: r.RefTag, after: free}
	s.start(q, s.cfg.ManageTimeout, func(h *iscsi.BHS, itt iscsi.ITT) {
		r.ITT, r.CmdSN, r.ExpStatSN = itt, s.cmdSN, s.expStatSN
		r.Put(h)
	})
	return q, nil
}

// wait waits for the answer to q. Without ctx it still comes, or the session
// ends, in bounded time.
func (q *request) wait(ctx context.Context) (iscsi.TaskResult, error) {
	select {
	case <-q.done:
		return q.result, q.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Manage sends a task management request for a logical unit, or for the target,
// and waits for its answer. Commands that a successful one ends (all that were
// sent before: of the LUN with AbortTaskSet, ClearTaskSet and LogicalUnitReset,
// of the session with the target resets) end with ErrAborted before it returns.
// AbortTask is refused: see AbortCommand. The error is of a request that was
// not answered; whether it took effect is in the result.
func (s *Session) Manage(ctx context.Context, f iscsi.TaskFunction, lun [8]byte) (iscsi.TaskResult, error) {
	switch f {
	case iscsi.AbortTaskSet, iscsi.ClearACA, iscsi.ClearTaskSet, iscsi.LogicalUnitReset, iscsi.TargetWarmReset, iscsi.TargetColdReset:
	default:
		return 0, &UsageError{fmt.Sprintf("Manage can't send %v", f)}
	}
	q, err := s.manage(ctx, f, lun, func(*iscsi.TaskRequest) bool { return true })
	if err != nil {
		return 0, err
	}
	return q.wait(ctx)
}

// AbortCommand ends c, which was submitted, with ErrAborted: at once where it
// was not sent yet, else by ABORT TASK. When it returns without an error c has
// ended, that way or because it was answered first, or ends in ManageTimeout
// where the target says that it does not know it. An error says that c is still
// under way, which only a ctx that ends does: the session does not wait for
// ever for the target.
func (s *Session) AbortCommand(ctx context.Context, c *Command) error {
	s.mu.Lock()
	if s.waiting.remove(c) {
		s.stats.Waiting--
		c.Err = ErrAborted
		s.mu.Unlock()
		c.Done(c)
		return nil
	}
	slot := c.slot
	if slot < 0 {
		s.mu.Unlock()
		return nil
	}
	t := &s.tasks[slot]
	itt, use := t.itt(slot), t.use
	s.mu.Unlock()
	q, err := s.manage(ctx, iscsi.AbortTask, c.LUN, func(r *iscsi.TaskRequest) bool {
		if t.cmd != c || t.use != use || t.answered {
			return false
		}
		r.RefTag, r.RefCmdSN = itt, t.cmdSN
		return true
	})
	if err != nil {
		if s.Err() != nil {
			return nil // it ends with the session
		}
		return err
	}
	if q == nil {
		return nil
	}
	result, err := q.wait(ctx)
	switch {
	case err != nil && s.Err() != nil:
		return nil
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		s.fail(fmt.Errorf("ABORT TASK: %w", err))
	case result == iscsi.TaskNoSuchTask:
		// It was answered before this. tgt says so as well of a command that it
		// still gathers data for, and executes it later.
		time.AfterFunc(s.cfg.ManageTimeout, func() {
			s.mu.Lock()
			open := t.cmd == c && t.use == use && !t.answered
			s.mu.Unlock()
			if open {
				s.fail(fmt.Errorf("%w: it does not know a command that it did not answer", ErrNoAnswer))
			}
		})
	case result != iscsi.TaskComplete:
		s.fail(fmt.Errorf("the target refused ABORT TASK: result %d", uint8(result)))
	}
	return nil
}

// Logout logs out and returns when the session is gone. It waits for no
// command: what is unanswered when the target agrees ends with a *LostError of
// ErrClosed. The error says whether the target agreed; without its answer, when
// ctx ends, the session ends all the same.
func (s *Session) Logout(ctx context.Context) error {
	q := s.leave(ErrClosed)
	if q == nil {
		<-s.done
		if err := s.Err(); !errors.Is(err, ErrClosed) {
			return err
		}
		return nil
	}
	_, err := q.wait(ctx)
	if err != nil {
		s.fail(ErrClosed)
	}
	<-s.done
	return err
}

// leave begins a logout after which the session ends with reason. It returns
// nil where the session has ended or is logging out already.
func (s *Session) leave(reason error) *request {
	s.mu.Lock()
	q := s.queueLogout(reason)
	if q == nil {
		s.mu.Unlock()
		return nil
	}
	s.kick()
	return q
}

// queueLogout does what leave does but for sending, with s.mu held.
func (s *Session) queueLogout(reason error) *request {
	if s.err != nil || s.loggingOut {
		return nil
	}
	s.loggingOut = true
	q := &request{op: iscsi.OpLogoutRequest, done: make(chan struct{})}
	q.after = func(err error) {
		if err != nil {
			s.fail(reason)
			return
		}
		s.end(reason, closeGently)
	}
	s.queue(q, s.cfg.ManageTimeout, func(h *iscsi.BHS, itt iscsi.ITT) {
		r := iscsi.LogoutRequest{Immediate: true, Reason: iscsi.LogoutSession, ITT: itt, CmdSN: s.cmdSN, ExpStatSN: s.expStatSN}
		r.Put(h)
	})
	return q
}
