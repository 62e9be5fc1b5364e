package initiator

import "context"

// Do submits c and waits for it. When ctx ends before, it aborts the task, and
// waits for that: c.Err is ErrAborted then, or c was just answered. Where the
// target does not answer the abort either the session ends. It returns c.Err.
// It sets c.Done.
func (s *Session) Do(ctx context.Context, c *Command) error {
	done := make(chan struct{})
	c.Done = func(*Command) { close(done) }
	s.Submit(c)
	select {
	case <-done:
	case <-ctx.Done():
		// ManageTimeout bounds this, not the caller's patience.
		if err := s.AbortCommand(context.WithoutCancel(ctx), c); err != nil {
			s.fail(err)
		}
		<-done
	}
	return c.Err
}
