package lun

import (
	"sango/internal/block"
	"sango/internal/scsi"
)

// streaming is the state of a write whose data-out is written as it comes. It
// is guarded by the lock of the task's itl.
//
// A piece is written under the lock of its own range alone, which is held
// only meanwhile: a host that withholds the rest keeps nobody waiting. What has
// been written is cut off the front of the task's range and never written
// again: what others did to those blocks since, a COMPARE AND WRITE included,
// stays. Of commands that overlap, each block sees some order.
type streaming struct {
	piece   bool                 // one is being written: the task executes, as far as aborting it goes
	off     bool                 // no more pieces: what is left is written at the end
	ready   bool                 // Ready came while a piece was being written
	fault   *scsi.CheckCondition // Fail did
	written int                  // bytes of data-out that are on the medium
	end     int64                // end of the task's range while a piece has the task's lock
	err     error                // that of the piece that failed
	vec     [][]byte
}

// pieceMax is the length of a piece, in bytes: what devices write in place.
// pieceAlign is what they want it aligned to for that.
const (
	pieceMax   = 64 << 10
	pieceAlign = 4 << 10
)

// Stream tells that the first n bytes of data-out are in Out, and won't change.
// Of a large write some of them may be written now, if that waits for nothing:
// neither for a device nor for other tasks. The transport asks only while it may
// call Ready.
func (t *Task) Stream(n int) {
	if t.itl == nil || t.cmd.flags&streams == 0 || t.OutLen <= pieceMax {
		return
	}
	if bs, _ := t.unit.geometry(); t.OutLen%int(bs) != 0 {
		return // it will be refused
	}
	for t.stream(min(n, t.OutLen)) {
	}
}

// stream writes one piece, and reports whether to go on.
func (t *Task) stream(n int) bool {
	i, u := t.itl, t.unit
	if !t.volatile() || !i.beginPiece(t, n) {
		return false
	}
	// From here on an abort waits for the end of the piece; what made the task
	// wait or stop before it is asked again.
	if u.gate(t) != nil || !u.mayServe() {
		t.endPiece(0, nil) // the end of the command will tell
		return false
	}
	s := &t.streaming
	size := t.end - t.off
	s.vec = t.Out.Slice(s.vec[:0], s.written, int(size))
	t.req = block.Request{Op: block.OpWrite, Flags: block.NoWait, Off: t.off, Len: size, Bufs: s.vec, Epoch: t.Epoch, Done: pieceDone, User: t}
	u.dev.Submit(&t.req)
	return true
}

// beginPiece takes the lock of the next piece, if there is one, and nothing is
// in its way.
func (i *itl) beginPiece(t *Task, n int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := &t.streaming
	if t.phase != phaseGathering || t.doomed || s.piece || s.off || i.barriers > 0 ||
		t.killed.Load() || t.off%pieceAlign != 0 {
		return false
	}
	size := int64(min(n-s.written, pieceMax) / pieceAlign * pieceAlign)
	if size <= 0 {
		return false
	}
	s.end, t.end = t.end, t.off+size
	if !i.unit.set.pass(t) {
		t.end = s.end
		return false
	}
	s.piece = true
	return true
}

// volatile reports whether t needs no stable storage.
func (t *Task) volatile() bool {
	fl, flush := t.stability(t.arg&argFUA != 0)
	return fl == 0 && !flush
}

func pieceDone(r *block.Request) { r.User.(*Task).endPiece(r.Len, r.Err) }

// endPiece ends a piece of which n bytes were written. What came for the task
// meanwhile is done now.
func (t *Task) endPiece(n int64, err error) {
	i, u := t.itl, t.unit
	s := &t.streaming
	clear(s.vec)
	u.workers.push(u.set.leave(t))
	i.mu.Lock()
	t.end, s.piece = s.end, false
	switch err {
	case nil:
		t.off += n
		s.written += int(n)
	case block.ErrWouldBlock: //nolint:errorlint // one value, never wrapped, on the hot path
		s.off = true
	default:
		s.off, s.err = true, err
	}
	waiters := t.fences
	t.fences = nil
	var run, gone bool
	fault := s.fault
	switch killed := t.killed.Load(); {
	case killed, fault != nil:
		i.stopWaiting(t)
		i.unlink(t)
		i.advance(nil)
		if gone = true; killed {
			t.aborted(t.tas)
		} else {
			t.conclude(fault)
		}
	case s.ready:
		if run, gone = i.complete(t); gone {
			t.conclude(scsi.Check(scsi.IllegalRequest, scsi.ASCLUNotSupported))
		}
	}
	i.mu.Unlock()
	// Unless it ends or runs here, t may be somebody else's from now on.
	if gone {
		i.deliver(t)
	}
	for _, f := range waiters {
		f.end()
	}
	if run {
		u.execute(t, false)
	}
	u.usher()
}

// put writes what has not been streamed of t's n bytes of data-out.
func (t *Task) put(n int64) error {
	s := &t.streaming
	if s.err != nil {
		return s.err
	}
	fl, flush := t.stability(t.arg&argFUA != 0)
	if s.written > 0 && fl != 0 { // the write cache was switched off meanwhile
		fl, flush = 0, true
	}
	if flush && !t.mayBlock {
		return block.ErrWouldBlock
	}
	vec := t.Out.Vec()
	if s.written > 0 {
		s.vec = t.Out.Slice(s.vec[:0], s.written, t.Out.Len())
		n, vec = n-int64(s.written), s.vec
	}
	switch {
	case !flush && n == 0:
		return nil
	case !flush:
		return t.start(block.OpWrite, fl, t.off, n, vec)
	case n > 0:
		if err := t.do(block.OpWrite, fl, t.off, n, vec); err != nil {
			return err
		}
	}
	return t.settle(true)
}
