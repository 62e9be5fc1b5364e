package initiator

import (
	"context"
	"sync"
)

// waiters are the channels of Do.
var waiters = sync.Pool{New: func() any { return &waiter{make(chan struct{}, 1)} }}

type waiter struct{ done chan struct{} }

func wake(c *Command) { c.wait.done <- struct{}{} }

// Do submits c and waits for it. When ctx ends before, it aborts the task, and
// waits for that: c.Err is ErrAborted then, or c was just answered. Where the
// target does not answer the abort either the session ends. It returns c.Err.
// It sets c.Done.
func (s *Session) Do(ctx context.Context, c *Command) error {
	w := waiters.Get().(*waiter)
	c.wait, c.Done = w, wake
	s.Submit(c)
	select {
	case <-w.done:
	case <-ctx.Done():
		// ManageTimeout bounds this, not the caller's patience.
		if err := s.AbortCommand(context.WithoutCancel(ctx), c); err != nil {
			s.fail(err)
		}
		<-w.done
	}
	c.wait = nil
	waiters.Put(w)
	return c.Err
}
