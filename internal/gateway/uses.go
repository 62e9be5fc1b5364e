package gateway

import (
	"context"
	"sync"

	"sango/internal/api"
	"sango/internal/san"
)

// uses are the changes and copies of a volume by administrators that are under
// way at its owner. The volume is not given up while one of them is at its
// bytes. So whoever holds it must not wait for anybody else meanwhile: for a
// client that reads an export never, for the metadata only until the term ends.
type uses struct {
	term context.Context // of the volume here; nil: none are let in
	over func()          // ends it
	n    int
	idle chan struct{} // closed when none is under way any more; nil: nobody waits
}

// begin lets uses in: the volume of that name is open.
func (s *slot) begin(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, over := context.WithCancelCause(context.Background())
	s.uses.term, s.uses.over = ctx, func() { over(api.Moved(name)) }
}

// hold keeps a volume that is open here from being given up until release is
// called. The term ends when it is to be given up: nobody may begin anything
// after that.
func (s *slot) hold() (term context.Context, release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &s.uses
	if u.term == nil {
		return nil, nil, false
	}
	u.n++
	return u.term, sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if u.n--; u.n == 0 && u.idle != nil {
			close(u.idle)
			u.idle = nil
		}
	}), true
}

// end ends the term: no more uses are let in. What it returns is closed when
// there are none.
func (s *slot) end() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &s.uses
	if u.term != nil {
		u.over()
		u.term = nil
	}
	c := u.idle
	if c == nil {
		c = make(chan struct{})
		if u.n == 0 {
			close(c)
		} else {
			u.idle = c
		}
	}
	return c
}

// hold keeps a volume from being given up while the caller is at its bytes, in a
// cluster at its owner alone.
func (n *Node) hold(v *san.Volume) (term context.Context, release func(), err error) {
	if !n.cfg.clustered() {
		return context.Background(), func() {}, nil
	}
	for _, g := range n.gateways() {
		if s := g.member.found(v.ID); s != nil {
			if term, release, ok := s.hold(); ok {
				return term, release, nil
			}
		}
	}
	return nil, nil, api.Moved(v.Name)
}

// during returns a context that ends with ctx, and with a term.
func during(ctx, term context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(term, func() { cancel(context.Cause(term)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// unlessOver returns err, or that the volume has moved where a term has ended.
func unlessOver(term context.Context, err error) error {
	if err != nil && term.Err() != nil {
		return context.Cause(term)
	}
	return err
}
