package lun

import (
	"errors"

	"sango/internal/scsi"
)

// Where the unit is served elsewhere, a command that is going to end with an
// error or a unit attention here may have to end with RESERVATION CONFLICT
// instead (SAM-5 §5.3.3), and only the owner knows. So its task goes to the
// door like others, as another command: the owner is asked, and if nothing
// stops it there it ends with the verdict that was reached here.

// rule makes t a command that ends with end, after the owner was asked; where
// the unit is served here, after the same was asked here.
func (t *Task) rule(ask Ask, end func(*Task) error) {
	c := t.cmd
	v := &command{
		op: c.op, sa: c.sa, name: c.name, access: c.access, ask: ask, run: end,
		flags: inPlace | atFront | notReady | sanitizing,
	}
	if ask == AskAllowed {
		v.flags = inPlace | atFront | c.flags&(changes|notReady|sanitizing)
	}
	t.cmd = v
	t.need, t.lock, t.off, t.end = 0, lockNone, 0, 0
}

// mayConflict reports whether there is a reservation that stops c.
func (c *command) mayConflict() bool { return c.access != accessAny || c.op == scsi.OpTestUnitReady }

// attentionDue is the unit attention that a command is to end with.
type attentionDue struct{ c scsi.ASC }

func (d *attentionDue) Error() string { return "unit attention" }

// askFirst makes t, which is to end with err, a task that asks the owner first.
// It reports false where there is nothing to ask.
func (t *Task) askFirst(err error) bool {
	i := t.itl
	due := (*attentionDue)(nil)
	attention := errors.As(err, &due)
	cc := (*scsi.CheckCondition)(nil)
	switch {
	case attention:
		err = scsi.Check(scsi.UnitAttention, due.c)
	case t.cmd == nil || !t.cmd.mayConflict() || i.state() > ActiveNonOptimized || i.unit.set.open() && !i.unit.guard.unsettled():
		return false
	case !errors.As(err, &cc) || cc.Sense.Key == scsi.UnitAttention:
		return false
	}
	ask := AskConflict
	if t.parsed {
		ask = AskAllowed
	}
	t.rule(ask, func(t *Task) error {
		if attention {
			t.itl.attn.clear(due.c)
		}
		return err
	})
	t.OutLen, t.Want = 0, 0
	return true
}

// ruleStreamed sees to a write whose data-out was streamed here before the
// volume went elsewhere: where a piece failed, or nothing is left to write, the
// owner is asked whether to say so.
func (t *Task) ruleStreamed() {
	s := &t.streaming
	if err, want := s.err, t.Want; err != nil || s.written > 0 && t.off == t.end {
		t.rule(AskAllowed, func(t *Task) error {
			t.Want = want
			return err
		})
	}
}

// open reports whether tasks come straight in.
func (s *taskSet) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.shut
}
