package initiator

import (
	"context"
	"fmt"
	"time"

	"sango/internal/iscsi"
)

// startPings begins to look after a silent target.
func (s *Session) startPings() {
	if s.cfg.PingInterval < 0 {
		s.pinger = time.AfterFunc(0, func() {})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinger = time.AfterFunc(s.cfg.PingInterval, s.look)
}

// look pings the target if it was silent for PingInterval. Whatever comes from
// it afterwards, not the answer alone, shows that it lives.
func (s *Session) look() {
	now := time.Since(s.logged)
	silent := now - time.Duration(s.lastHeard.Load())
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	switch {
	case silent < s.cfg.PingInterval:
		s.pinger.Reset(s.cfg.PingInterval - silent)
		s.mu.Unlock()
		return
	case s.ownPing:
		// It was sent when the silence had lasted for PingInterval.
		if left := s.cfg.PingInterval + s.cfg.PingTimeout - silent; left > 0 {
			s.pinger.Reset(left)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.fail(fmt.Errorf("%w: silent for %v", ErrNoAnswer, silent.Round(time.Millisecond)))
		return
	}
	s.ownPing = true
	s.pinger.Reset(s.cfg.PingTimeout)
	s.sendPing(&request{after: func(error) {
		s.mu.Lock()
		s.ownPing = false
		s.mu.Unlock()
	}}, 0)
}

// sendPing starts a NOP-Out, with s.mu held, which it releases.
func (s *Session) sendPing(q *request, limit time.Duration) {
	q.op = iscsi.OpNopOut
	s.start(q, limit, func(h *iscsi.BHS, itt iscsi.ITT) {
		n := iscsi.NopOut{Immediate: true, ITT: itt, TTT: iscsi.NoTTT, CmdSN: s.cmdSN, ExpStatSN: s.expStatSN}
		n.Put(h)
	})
}

// Ping sends a NOP-Out and waits for its answer. One that does not come in
// Config.PingTimeout ends the session.
func (s *Session) Ping(ctx context.Context) error {
	select {
	case s.pinging <- struct{}{}:
	case <-s.ended:
		return &LostError{Portal: s.cfg.Portal, Reason: s.Err()}
	case <-ctx.Done():
		return ctx.Err()
	}
	q := &request{after: func(error) { <-s.pinging }}
	s.mu.Lock()
	s.sendPing(q, s.cfg.PingTimeout)
	_, err := q.wait(ctx)
	return err
}

// nopIn takes an answer to a ping, a ping, or news of the window.
func (s *Session) nopIn() error {
	n, err := iscsi.ParseNopIn(&s.h)
	if err != nil {
		return fromPeer(err)
	}
	if err := s.endData(); err != nil {
		return err
	}
	s.mu.Lock()
	s.window(n.ExpCmdSN, n.MaxCmdSN)
	if n.ITT == iscsi.NoITT {
		err := s.pong(&n)
		s.mu.Unlock()
		return err
	}
	t, slot := s.lookup(n.ITT)
	if t == nil || t.kind != requestTask || t.request.op != iscsi.OpNopOut {
		s.mu.Unlock()
		return peerErrorf("a NOP-In for task %#08x, which is no ping", uint32(n.ITT))
	}
	if err := s.status(n.StatSN); err != nil {
		s.mu.Unlock()
		return err
	}
	q := t.request
	s.stats.Ping = time.Since(q.sent)
	s.release(slot)
	s.mu.Unlock()
	q.end(0, nil)
	return nil
}

// pong answers a ping of the target's, with s.mu held.
func (s *Session) pong(n *iscsi.NopIn) error {
	if n.TTT == iscsi.NoTTT {
		return nil
	}
	if s.out.pongs++; s.out.pongs > maxPongs {
		return peerErrorf("it sends pings and does not read the answers")
	}
	var h iscsi.BHS
	r := iscsi.NopOut{Immediate: true, LUN: n.LUN, ITT: iscsi.NoITT, TTT: n.TTT, CmdSN: s.cmdSN, ExpStatSN: s.expStatSN}
	r.Put(&h)
	s.post(&h, true)
	return nil
}
