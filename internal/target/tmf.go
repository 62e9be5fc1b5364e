package target

import (
	"time"

	"sango/internal/iscsi"
	"sango/internal/lun"
)

// taskRequest takes a Task Management Function Request PDU (RFC 7143 §11.5).
func (c *conn) taskRequest() error {
	r, err := iscsi.ParseTaskRequest(&c.in.h)
	if err != nil {
		return c.rejectPDU(err)
	}
	if _, err := c.endData(); err != nil {
		return err
	}
	if r.Immediate {
		c.mu.Lock()
		crowded := c.immediates >= c.srv.cfg.Immediates
		if !crowded {
			c.immediates++
		}
		c.mu.Unlock()
		if crowded {
			return c.reject(iscsi.RejectImmediate, false)
		}
	}
	// ABORT TASK may name a command that will never come, and wait behind it in
	// CmdSN order itself: the number counts as received from now on.
	plugged := false
	if r.Function == iscsi.AbortTask && r.RefCmdSN.Before(r.CmdSN) {
		plugged = c.plugAborted(r.RefTag, r.RefCmdSN)
	}
	arrival := c.in.pduArrival
	err = c.numbered(r.Immediate, r.CmdSN, 0, func(credit bool) error {
		if time.Since(arrival) > c.srv.cfg.MaxAge {
			return errTooOld
		}
		c.manage(&r, credit, plugged)
		return nil
	})
	if err != nil {
		return err
	}
	return c.catchUp() // what waited for the plugged number
}

// plugAborted gives up the command that sn numbers, if it did not come yet or
// still waits for its turn (RFC 7143 §11.5.1). It reports whether that was so;
// a command under tag with another number is left alone.
func (c *conn) plugAborted(tag iscsi.ITT, sn iscsi.CmdSN) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tasks[tag]
	if t != nil && !t.early {
		return false
	}
	o := c.win.held[sn]
	if o == nil && t != nil || o != nil && (t == nil || o.task != t) {
		return false // the command under tag waits at another number, or another command at this one
	}
	if !c.win.plug(sn) {
		return false
	}
	if t != nil {
		c.dropEarly(t)
	}
	return true
}

// dropEarly forgets a task that waits for its turn, with c.mu held. Its number
// stays in the window, plugged, and gives the credit back there.
func (c *conn) dropEarly(t *task) {
	delete(c.tasks, t.itt)
	t.free()
}

// manage performs a task management function in its turn.
func (c *conn) manage(r *iscsi.TaskRequest, credit, plugged bool) {
	respond := func(result iscsi.TaskResult) {
		k := newControl()
		p := iscsi.TaskResponse{Result: result, ITT: r.ITT}
		p.Put(&k.h)
		k.credit, k.immediate = credit, r.Immediate
		c.post(k)
	}
	switch {
	case r.Function == iscsi.TaskReassign: // RFC 7143 §11.6.1: needs ErrorRecoveryLevel 2
		respond(iscsi.TaskNoReassign)
		return
	case r.Function < iscsi.AbortTask || r.Function > iscsi.TaskReassign:
		respond(iscsi.TaskNotSupported)
		return
	case plugged:
		respond(iscsi.TaskComplete)
		return
	case r.Function == iscsi.AbortTask && c.abortParked(r):
		respond(iscsi.TaskComplete)
		return
	case r.Function != iscsi.AbortTask && r.Function != iscsi.ClearACA:
		c.abortWaiting(r)
	}
	c.nexus.Manage(lun.TMF{Function: lun.Function(r.Function), LUN: r.LUN, RefTag: uint32(r.RefTag)}, func(a lun.TMFResponse) {
		respond(iscsi.TaskResult(a))
	})
}

// abortParked aborts the task that r names if it is over but for data that its
// response waits for.
func (c *conn) abortParked(r *iscsi.TaskRequest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tasks[r.RefTag]
	if t == nil || t.LUN != r.LUN || t.early || !t.done || !t.owed() {
		return false
	}
	c.forget(t)
	t.free()
	return true
}

// abortWaiting aborts the commands before r that it covers and that package
// lun does not have: those that wait for their turn, and those that are over
// but for data that their response waits for. It covers all of
// them for a target reset, else those of its logical unit. A target reset also
// gives up those that did not come (RFC 7143 §4.2.3.3).
func (c *conn) abortWaiting(r *iscsi.TaskRequest) {
	all := r.Function == iscsi.TargetWarmReset || r.Function == iscsi.TargetColdReset
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tasks {
		if !t.cmdSN.Before(r.CmdSN) || !all && t.LUN != r.LUN {
			continue
		}
		switch {
		case t.early:
			c.win.plug(t.cmdSN)
			c.dropEarly(t)
		case t.done && t.owed():
			c.forget(t)
			t.free()
		}
	}
	if !all {
		return
	}
	for sn := c.win.exp; sn.Before(r.CmdSN) && sn.Within(c.win.exp, c.win.max); sn++ {
		if c.win.held[sn] == nil {
			c.win.plug(sn)
		}
	}
}
