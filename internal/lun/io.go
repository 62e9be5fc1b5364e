package lun

import "sango/internal/block"

// start begins the one I/O of a command; its end ends the task. A handler
// returns what start returns and must not touch the task any more: it may have
// ended and be in use again. Where the handler may not block the device is
// asked not to, and if it would, run is called again on a worker.
func (t *Task) start(op block.Op, fl block.Flags, off, n int64, bufs [][]byte) error {
	if op != block.OpRead && !t.unit.mayServe() {
		return errRight
	}
	if !t.mayBlock {
		fl |= block.NoWait
	}
	t.req = block.Request{Op: op, Flags: fl, Off: off, Len: n, Bufs: bufs, Epoch: t.Epoch, Done: ioDone, User: t}
	t.unit.dev.Submit(&t.req)
	return errPending
}

// do executes one I/O and waits for it. Only for handlers that may block.
func (t *Task) do(op block.Op, fl block.Flags, off, n int64, bufs [][]byte) error {
	if op != block.OpRead && !t.unit.mayServe() {
		return errRight
	}
	return block.DoAt(t.unit.dev, t.Epoch, op, fl, off, n, bufs...)
}

// ioDone ends the I/O of a task that start began.
func ioDone(r *block.Request) {
	t, err := r.User.(*Task), r.Err
	if err == block.ErrWouldBlock && !t.mayBlock { //nolint:errorlint // one value, never wrapped, on the hot path
		t.unit.workers.push(t)
		return
	}
	if t.cmd.done != nil {
		err = t.cmd.done(t, err)
	}
	t.finish(err)
}
