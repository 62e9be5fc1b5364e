package lun

import (
	"errors"

	"sango/internal/block"
	"sango/internal/san"
	"sango/internal/scsi"
)

// Admit takes a task over, in CmdSN order; it is new or was Reset. It sets t.OutLen; when that is 0
// the task runs now, in place on the calling goroutine if it can't block, else
// on a worker of the unit.
//
// A task that is refused or needs no waiting has ended, and may be in use
// again, when Admit returns: the transport looks at nothing but OutLen, and at
// that only if TaskDone has not been called.
func (n *Nexus) Admit(t *Task) {
	t.nexus = n
	l, err := san.ParseLUN(t.LUN)
	if err != nil {
		n.absent(t)
		return
	}
	i := n.view.Load().at(l)
	if i == nil {
		n.absent(t)
		return
	}
	t.itl, t.unit = i, i.unit
	if err := i.examine(t); err != nil && !t.askFirst(err) {
		t.refuse(err)
		return
	}
	gathers := t.OutLen > 0
	run, st, cc := i.add(t)
	switch {
	case cc != nil:
		t.refuse(cc)
	case st != 0:
		t.Status = st
		t.refuse(nil)
	case run:
		i.unit.execute(t, false)
	case !gathers:
		i.unit.usher()
	}
}

// Refuse gives a task that was not admitted, and that the transport ends by
// itself, the sense data of cc in the format that its unit is to give.
func (n *Nexus) Refuse(t *Task, cc *scsi.CheckCondition) {
	if l, err := san.ParseLUN(t.LUN); err == nil {
		if i := n.view.Load().at(l); i != nil {
			t.unit = i.unit
		}
	}
	t.setSense(&cc.Sense)
}

// examine finds the command of t and checks what can be checked before it is
// its turn.
func (i *itl) examine(t *Task) error {
	u := i.unit
	cmd, cc := u.table.find(&t.CDB)
	if cmd != nil && !i.nexus.offers(cmd) {
		cmd, cc = nil, scsi.Check(scsi.IllegalRequest, scsi.ASCInvalidOpCode)
	}
	t.cmd = cmd
	if i.attn.count.Load() > 0 && (cmd == nil || cmd.flags&keepsAttention == 0) {
		if err := i.interrupt(t); err != nil {
			return err
		}
	}
	if cc != nil {
		return cc
	}
	if cc := cmd.check(&t.CDB); cc != nil {
		return cc
	}
	if t.Attr == scsi.ACA { // without an ACA condition, SAM-5 §8.6.5
		return scsi.Check(scsi.IllegalRequest, scsi.ASCInvalidMessage)
	}
	if s := i.state(); s > ActiveNonOptimized {
		if cc := blockedBy(s, cmd.flags); cc != nil {
			return cc
		}
	}
	if cmd.parse != nil {
		t.parsed = true
		if err := cmd.parse(t); err != nil {
			// What the unit would refuse anyway goes first: a write to a write
			// protected unit, also one that is wrong in other ways.
			if first := u.gate(t); first != nil && first != errUnsettled { //nolint:errorlint // one value, never wrapped
				return first
			}
			return err
		}
		t.Want = uint64(t.need)
		if t.Write {
			t.OutLen = min(t.need, int(t.Expected))
		}
	}
	return nil
}

// offers reports whether the target of n has c.
func (n *Nexus) offers(c *command) bool {
	return (c.flags&explicit == 0 || n.target.o.SetGroups != nil) && (c.flags&fences == 0 || n.fencer != nil)
}

// interrupt returns the unit attention that t ends with, if any. RESERVATION
// CONFLICT goes before those that are not resets (SAM-5 §5.3.3).
func (i *itl) interrupt(t *Task) error {
	c, ok := i.attn.first()
	if !ok {
		return nil
	}
	if rank(c) >= rankOther && t.cmd != nil {
		if t.cmd.mayConflict() && i.state() <= ActiveNonOptimized && !i.unit.set.open() {
			return &attentionDue{c}
		}
		switch err := i.unit.guard.bars(t); {
		case err == errUnsettled: //nolint:errorlint // one value, never wrapped
			return &attentionDue{c}
		case err != nil:
			return err
		}
	}
	if c, ok = i.attn.take(); !ok {
		return nil
	}
	return scsi.Check(scsi.UnitAttention, c)
}

// refuse ends a task that no list holds.
func (t *Task) refuse(err error) {
	if err != nil {
		t.OutLen, t.Want = 0, 0
		if cc := (*scsi.CheckCondition)(nil); t.cmd != nil && errors.As(err, &cc) && cc.Sense.Key != scsi.UnitAttention {
			if barred := t.unit.guard.bars(t); barred != nil {
				err = barred
			}
		}
	}
	if t.Status != scsi.Good {
		t.OutLen, t.Want = 0, 0
	}
	t.conclude(err)
	if t.Status == scsi.ReservationConflict {
		t.vouch()
	}
	t.drop()
	t.nexus.tr.TaskDone(t)
}

// drop has the session of t end if nobody may be told how t ended.
func (t *Task) drop() {
	if t.Void {
		t.nexus.tr.Drop("the gateway has no right to serve at the moment, or the command was too old")
	}
}

// Ready tells that the data-out of t is complete: it runs. It does nothing if
// the task was aborted meanwhile.
func (t *Task) Ready() {
	i := t.itl
	if i == nil {
		return
	}
	switch run, gone := i.ready(t); {
	case gone:
		t.conclude(scsi.Check(scsi.IllegalRequest, scsi.ASCLUNotSupported))
		i.deliver(t)
	case run:
		i.unit.execute(t, false)
	default:
		i.unit.usher()
	}
}

// Fail tells that the data-out of t failed (digest, sequence): the task ends
// with cc. It does nothing if the task was aborted meanwhile.
func (t *Task) Fail(cc *scsi.CheckCondition) {
	i := t.itl
	if i == nil || !i.fail(t, cc) {
		return
	}
	t.conclude(cc)
	i.deliver(t)
	i.unit.usher()
}

// execute runs t, which its unit has started. On a worker it may block.
func (u *Unit) execute(t *Task, mayBlock bool) {
	if t.killed.Load() {
		t.finish(nil)
		return
	}
	if !mayBlock && t.cmd.flags&(inPlace|fast) == 0 {
		u.workers.push(t)
		return
	}
	err := u.gate(t)
	if err == nil {
		t.mayBlock = mayBlock
		err = t.cmd.run(t)
	}
	if err == errUnsettled { //nolint:errorlint // one value, never wrapped, on the hot path
		err = u.guard.wait(t)
	}
	switch {
	case err == errPending: //nolint:errorlint // one value, never wrapped, on the hot path
	case err == block.ErrWouldBlock && !mayBlock: //nolint:errorlint // the same
		u.workers.push(t)
	default:
		t.finish(err)
	}
}

// finish ends t, which has started, with err. What waited for it goes on.
func (t *Task) finish(err error) {
	i, u := t.itl, t.unit
	t.conclude(err)
	t.vouch()
	var next *Task
	if t.place == placeStarted {
		next = u.set.leave(t)
	}
	waiters := i.ended(t)
	i.deliver(t)
	u.workers.push(next)
	for _, f := range waiters {
		f.end()
	}
}
