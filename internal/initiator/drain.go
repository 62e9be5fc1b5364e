package initiator

import (
	"fmt"
	"time"
)

// drain begins the end of a session whose target asks for a logout within
// limit (RFC 7143 §11.9.1, event 1). What was not sent ends at once, what is
// with the target may finish; then comes the logout. The reader calls it, and
// sends what it has queued.
func (s *Session) drain(limit time.Duration) {
	s.mu.Lock()
	if s.err != nil || s.loggingOut || s.draining {
		s.mu.Unlock()
		return
	}
	s.draining = true
	lost := s.lost()
	unsent := s.waiting
	s.waiting, s.stats.Waiting = list{}, 0
	for c := unsent.head; c != nil; c = c.next {
		c.Err = lost
	}
	// Where the logout itself is not answered in time, that ends it as well.
	limit = max(limit, time.Second) // 0 s are not meant so
	s.drainTimer = time.AfterFunc(limit, func() {
		s.fail(fmt.Errorf("%w, and its %v were over before the last answer", ErrDraining, limit))
	})
	s.leaveDrained()
	s.mu.Unlock()
	unsent.callDone()
}

// leaveDrained queues the logout of a draining session that has no commands
// left, with s.mu held. Its callers are the reader and the sender, who send
// whatever is queued afterwards.
func (s *Session) leaveDrained() {
	if s.draining && s.active == 0 {
		s.queueLogout(ErrDraining)
	}
}
