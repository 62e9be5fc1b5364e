package initiator

import (
	"fmt"
	"time"

	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// serve takes what the target sends until the session ends.
func (s *Session) serve() error {
	for {
		if err := s.next(); err != nil {
			return err
		}
		if err := s.dispatch(); err != nil {
			return err
		}
	}
}

// heard notes that n bytes came.
func (s *Session) heard(n int) {
	s.lastHeard.Store(int64(time.Since(s.logged)))
	s.wireIn.Add(uint64(n))
	s.reads.Add(1)
}

// dispatch takes the PDU whose header is at hand.
func (s *Session) dispatch() error {
	switch op := s.h.Opcode(); op {
	case iscsi.OpDataIn:
		return s.dataIn()
	case iscsi.OpSCSIResponse:
		return s.scsiResponse()
	case iscsi.OpR2T:
		return s.readyToTransfer()
	case iscsi.OpNopIn:
		return s.nopIn()
	case iscsi.OpTaskResponse, iscsi.OpLogoutResponse:
		return s.requestResponse()
	case iscsi.OpReject:
		return s.rejected()
	case iscsi.OpAsync:
		return s.asyncMessage()
	default:
		return peerErrorf("a %v PDU in full feature phase", op)
	}
}

// window takes the command window of a PDU, with s.mu held. One that is out of
// date, or makes no sense, changes nothing (RFC 7143 §4.2.2.1).
func (s *Session) window(exp, max iscsi.CmdSN) {
	s.stats.PDUsIn++
	if max.Before(exp - 1) {
		return
	}
	if s.maxCmdSN.Before(max) {
		s.maxCmdSN = max
	}
}

// status takes the number of a PDU that counts as a status, with s.mu held. A
// gap is a status that was lost, which is the end at ErrorRecoveryLevel 0.
func (s *Session) status(n iscsi.StatSN) error {
	if n != s.expStatSN {
		return peerErrorf("a %v has StatSN %d where %d was due", s.h.Opcode(), n, s.expStatSN)
	}
	s.expStatSN++
	return nil
}

// command returns the task that the PDU at hand is for, with s.mu held.
func (s *Session) command(itt iscsi.ITT) (*task, int, error) {
	t, slot := s.lookup(itt)
	if t == nil || t.kind != scsiTask || !t.begun {
		return nil, 0, peerErrorf("a %v for task %#08x, which is none", s.h.Opcode(), uint32(itt))
	}
	return t, slot, nil
}

// dataIn takes a Data-In PDU: the data goes straight to its place.
func (s *Session) dataIn() error {
	d, err := iscsi.ParseDataIn(&s.h)
	if err != nil {
		return fromPeer(err)
	}
	s.mu.Lock()
	t, slot, err := s.command(d.ITT)
	if err == nil {
		err = t.checkDataIn(&d)
	}
	if err == nil && d.HasStatus {
		err = s.status(d.StatSN)
	}
	s.window(d.ExpCmdSN, d.MaxCmdSN)
	s.stats.BytesIn += uint64(d.DataLen)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	// Nobody else ends a task while the reader is here.
	s.sink = t.room(s.sink[:0], d.DataLen)
	err = s.readData(s.sink, d.DataLen)
	clear(s.sink)
	if err == nil {
		err = s.endData()
	}
	if err != nil {
		return err
	}
	t.got += d.DataLen
	if !d.HasStatus {
		return nil
	}
	s.answered(t, slot, scsi.Status(d.Status), d.Residual, nil)
	return nil
}

// checkDataIn says what is wrong with a Data-In PDU for t: the data of a
// command comes in order (DataPDUInOrder and DataSequenceInOrder).
func (t *task) checkDataIn(d *iscsi.DataIn) error {
	switch {
	case t.write:
		return peerErrorf("Data-In for a write")
	case d.DataSN != t.dataSN:
		return peerErrorf("Data-In has DataSN %d where %d was due", d.DataSN, t.dataSN)
	case int64(d.Offset) != int64(t.got):
		return peerErrorf("Data-In is at byte %d where %d was due", d.Offset, t.got)
	case d.DataLen > t.expected-t.got:
		return peerErrorf("Data-In goes up to byte %d of %d", t.got+d.DataLen, t.expected)
	}
	t.dataSN++
	return nil
}

// room appends to sink where the next n bytes of t go.
func (t *task) room(sink [][]byte, n int) [][]byte {
	for n > 0 {
		p := t.cmd.In[t.inIndex][t.inOffset:]
		if len(p) > n {
			t.inOffset += n
			return append(sink, p[:n])
		}
		t.inIndex, t.inOffset = t.inIndex+1, 0
		n -= len(p)
		if len(p) > 0 {
			sink = append(sink, p)
		}
	}
	return sink
}

// scsiResponse takes the outcome of a command.
func (s *Session) scsiResponse() error {
	r, err := iscsi.ParseSCSIResponse(&s.h)
	if err != nil {
		return fromPeer(err)
	}
	sense, err := s.readSense(r.DataLen)
	if err != nil {
		return err
	}
	s.mu.Lock()
	t, slot, err := s.command(r.ITT)
	if err == nil {
		err = s.status(r.StatSN)
	}
	s.window(r.ExpCmdSN, r.MaxCmdSN)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if r.Response != iscsi.CommandCompleted {
		t.cmd.Err = &FailureError{Response: r.Response}
	}
	s.answered(t, slot, scsi.Status(r.Status), r.Residual, sense)
	return nil
}

// readSense reads the n bytes of data of the PDU at hand, which are sense data.
// It stays valid until the next PDU.
func (s *Session) readSense(n int) ([]byte, error) {
	data, err := s.readInto(s.small[:])
	if err != nil || len(data) < n { // longer than any sense data
		return nil, err
	}
	sense, err := iscsi.ParseSense(data)
	if err != nil {
		return nil, fromPeer(err)
	}
	return sense, nil
}

// answered ends a command with its status.
func (s *Session) answered(t *task, slot int, status scsi.Status, residual iscsi.Residual, sense []byte) {
	c := t.cmd
	c.Status, c.Residual = status, residual
	if len(sense) > 0 {
		c.Sense = c.sense[:copy(c.sense[:], sense)]
	}
	s.mu.Lock()
	if t.write && c.Err == nil && status == scsi.Good && residual == (iscsi.Residual{}) && (t.asked < t.expected || t.r2ts > 0) {
		// It says that all was written, and never had it.
		c.Residual = iscsi.Residual{Underflow: true, Count: uint32(t.expected - t.asked)}
	}
	s.finish(t, slot)
	s.endFinished()
}

// endFinished unlocks s.mu and calls Done for what is finished.
func (s *Session) endFinished() {
	done := s.finished
	s.finished = list{}
	s.mu.Unlock()
	done.callDone()
}

// readyToTransfer takes an R2T.
func (s *Session) readyToTransfer() error {
	r, err := iscsi.ParseR2T(&s.h)
	if err != nil {
		return fromPeer(err)
	}
	if err := s.endData(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window(r.ExpCmdSN, r.MaxCmdSN)
	t, slot, err := s.command(r.ITT)
	if err != nil {
		return err
	}
	end := int64(r.Offset) + int64(r.Desired)
	switch {
	case !t.write:
		return peerErrorf("an R2T for a command that writes nothing")
	case r.R2TSN != t.dataSN:
		return peerErrorf("an R2T has R2TSN %d where %d was due", r.R2TSN, t.dataSN)
	case end > int64(t.expected):
		return peerErrorf("an R2T goes up to byte %d of %d", end, t.expected)
	case int64(r.Offset) < int64(t.r2tEnd):
		return peerErrorf("an R2T is at byte %d, before the end of the last one at %d", r.Offset, t.r2tEnd)
	case r.Desired > s.params.MaxBurstLength:
		return peerErrorf("an R2T asks for %d bytes, more than MaxBurstLength %d", r.Desired, s.params.MaxBurstLength)
	case t.r2ts >= int(s.params.MaxOutstandingR2T):
		return peerErrorf("more than MaxOutstandingR2T %d R2Ts at a time", s.params.MaxOutstandingR2T)
	}
	t.dataSN++
	t.r2ts++
	t.refs++
	t.r2tEnd = int(end)
	if int(r.Offset) <= t.asked {
		t.asked = max(t.asked, int(end))
	}
	s.out.queue = append(s.out.queue, item{
		kind: sendBurst, refs: true, slot: slot, lun: r.LUN, ttt: r.TTT, at: int(r.Offset), end: int(end), out: t.cmd.Out,
	})
	return nil
}

// fromPeer makes a PeerError of an error of a parser.
func fromPeer(err error) error { return &PeerError{Text: err.Error()} }

// rejected takes a Reject: the header of the PDU that the target refused is its
// data.
func (s *Session) rejected() error {
	r, err := iscsi.ParseReject(&s.h)
	if err != nil {
		return fromPeer(err)
	}
	data, err := s.readInto(s.small[:])
	if err != nil {
		return err
	}
	s.mu.Lock()
	err = s.status(r.StatSN)
	s.window(r.ExpCmdSN, r.MaxCmdSN)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	if len(data) < iscsi.BHSLen {
		s.mu.Unlock()
		return fmt.Errorf("the target rejected a PDU and does not say which: %v", r.Reason)
	}
	h := iscsi.BHS(data)
	t, slot := s.lookup(h.ITT())
	refusal := &FailureError{Reject: r.Reason}
	switch {
	case r.Reason == iscsi.RejectDataDigest:
		// The data may have been damaged on the way, and at ErrorRecoveryLevel 0
		// nothing is sent again within a session.
	case t != nil && t.kind == scsiTask && t.begun && h.Opcode() == iscsi.OpSCSICommand:
		t.cmd.Err = refusal
		if r.Reason == iscsi.RejectWaitingForLogout { // it crossed with the request for one
			t.cmd.Err, t.refused = &LostError{Portal: s.cfg.Portal, Reason: ErrDraining}, true
		}
		s.finish(t, slot)
		s.endFinished()
		return nil
	case t != nil && t.kind == requestTask && h.Opcode() == t.request.op:
		q := t.request
		s.release(slot)
		s.mu.Unlock()
		q.end(0, refusal)
		return nil
	}
	s.mu.Unlock()
	return fmt.Errorf("the target rejected a %v: %v", h.Opcode(), r.Reason)
}

// maxRest bounds how long a target can keep us from logging in again.
const maxRest = 5 * time.Minute

// asyncMessage takes an Asynchronous Message.
func (s *Session) asyncMessage() error {
	a, err := iscsi.ParseAsync(&s.h)
	if err != nil {
		return fromPeer(err)
	}
	var sense []byte
	if a.Event == iscsi.AsyncSCSI {
		sense, err = s.readSense(a.DataLen)
	} else {
		err = s.endData()
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	err = s.status(a.StatSN)
	s.window(a.ExpCmdSN, a.MaxCmdSN)
	if a.Event == iscsi.AsyncDrop || a.Event == iscsi.AsyncDropSession {
		s.rest = min(time.Duration(a.Param2)*time.Second, maxRest)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.cfg.Logger.Info("asynchronous message", "portal", s.cfg.Portal, "event", a.Event)
	if s.cfg.Event != nil {
		s.cfg.Event(s, a, sense)
	}
	switch a.Event {
	case iscsi.AsyncLogout:
		s.drain(time.Duration(a.Param3) * time.Second)
	case iscsi.AsyncDrop, iscsi.AsyncDropSession:
		return fmt.Errorf("%w: %v", ErrTargetEnds, a.Event)
	}
	return nil
}
