package initiator

import (
	"errors"
	"io"
	"net"
)

// fail ends the session because of err, unless it has ended. It does not wait.
func (s *Session) fail(err error) { s.end(err, closeAbortively) }

// end ends the session because of err and closes the connection by way of
// shut, unless it has ended.
func (s *Session) end(err error, shut func(net.Conn)) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		err = ErrHangUp
	}
	s.err = err
	close(s.ended)
	s.mu.Unlock()
	shut(s.conn)
}

// run is the reader and what ends the session.
func (s *Session) run() {
	s.sock.share(true)
	s.fail(s.serve())
	s.sock.share(false)
	s.pinger.Stop()
	s.mu.Lock()
	if s.drainTimer != nil {
		s.drainTimer.Stop()
	}
	for s.out.sending {
		s.out.idle.Wait()
	}
	// Nobody touches buffers from here on: there is no reader, no sender, and
	// kick makes none.
	handed := s.handed.Load()
	lost := s.lost()
	var requests []*request
	for slot := range s.tasks {
		t := &s.tasks[slot]
		switch {
		case t.kind == scsiTask && t.answered:
			s.finished.push(t.cmd)
			t.cmd.Got, t.cmd.Sent, t.cmd.slot = t.got, !t.refused, -1
		case t.kind == scsiTask:
			t.cmd.Err, t.cmd.Sent, t.cmd.Got, t.cmd.slot = lost, t.begun && t.start < handed, t.got, -1
			s.finished.push(t.cmd)
		case t.kind == requestTask:
			requests = append(requests, t.request)
		}
		t.kind, t.cmd, t.request = unused, nil, nil
	}
	for c := s.waiting.pop(); c != nil; c = s.waiting.pop() {
		c.Err = lost
		s.finished.push(c)
	}
	s.active, s.owed, s.stats.Waiting = 0, 0, 0
	done, err := s.finished, s.err
	s.finished = list{}
	s.mu.Unlock()
	for _, r := range requests {
		r.end(0, lost)
	}
	done.callDone()
	s.cfg.Logger.Info("session ended", "portal", s.cfg.Portal, "target", s.cfg.Target, "reason", err)
	if s.cfg.Lost != nil {
		s.cfg.Lost(s, err)
	}
	close(s.done)
}

// Abort ends the session because of reason at once and abortively, and returns
// when every command has ended and Config.Lost was called. It must not be
// called from a callback, since it waits for those: see Drop.
func (s *Session) Abort(reason error) {
	s.Drop(reason)
	<-s.done
}

// Drop begins what Abort does and does not wait. Once it has returned nothing
// more of the session is sent.
func (s *Session) Drop(reason error) {
	if reason == nil {
		reason = ErrClosed
	}
	s.fail(reason)
}
