package lun

import (
	"slices"
	"sync"
	"time"

	"sango/internal/block"
)

// errUnsettled ends a command with BUSY that meets reservations of which it is
// not known what the record says, or will say in a moment: one that executes
// waits for that first (reservations.wait).
var errUnsettled error = &block.Error{Class: block.Busy}

// settleTime is how long a command waits for reservations to be settled. A host
// that logs in while the end of a RESERVE(6) is being stored may take BUSY for
// its first command for a target that can't be used.
const settleTime = time.Second

// waiters are the tasks of a unit that wait for its reservations to be settled.
// They have started: who comes after them keeps its place. None holds a goroutine.
type waiters struct {
	most time.Duration // that a task waits

	mu   sync.Mutex // guards the fields below; taken under an itl's, and that of workers under it
	all  []*waiter  // in the order in which they came
	shut bool       // the unit is not served here: nobody waits
}

// waiter is a task that waits.
type waiter struct {
	t   *Task
	end *time.Timer
}

// unsettled reports whether there is something to wait for.
func (r *reservations) unsettled() bool {
	return r.doubtful() || r.unit.cond.Load()&condUnread != 0
}

// wait has t, which has met unsettled reservations and had no effect, executed
// again when they are settled. What it returns is how t goes on: errUnsettled when
// it has waited for long enough.
func (r *reservations) wait(t *Task) error {
	if t.place != placeStarted { // of the front, or outside of all order
		return errUnsettled
	}
	w, now := &r.waiters, time.Now()
	if t.patience.IsZero() {
		t.patience = now.Add(w.most)
	}
	left := t.patience.Sub(now)
	w.mu.Lock()
	if w.shut {
		w.mu.Unlock()
		return t.back()
	}
	defer w.mu.Unlock()
	// Who ends t, or settles what it waits for, says so before it looks for t.
	stop, err := t.halted()
	switch {
	case stop:
		return err
	case left <= 0:
		return errUnsettled
	case !r.unsettled():
		t.qnext = nil
		r.unit.workers.push(t)
		return errPending
	}
	x := &waiter{t: t}
	x.end = time.AfterFunc(left, func() { w.resume(func(o *waiter) bool { return o == x }) })
	w.all = append(w.all, x)
	return errPending
}

// settled has those that wait executed again: something was settled.
func (r *reservations) settled() { r.waiters.resume(func(*waiter) bool { return true }) }

// leave has those that wait go where the unit is served from now on.
func (r *reservations) leave() {
	w := &r.waiters
	w.mu.Lock()
	w.shut = true
	w.mu.Unlock()
	r.settled()
}

// resume has those executed again for which which holds.
func (w *waiters) resume(which func(*waiter) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = slices.DeleteFunc(w.all, func(x *waiter) bool {
		if !which(x) {
			return false
		}
		x.end.Stop()
		x.t.qnext = nil
		x.t.unit.workers.push(x.t)
		return true
	})
}
