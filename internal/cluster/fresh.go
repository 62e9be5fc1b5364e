package cluster

import (
	"context"
	"sync"
)

// freshness answers who wants to know whether what this gateway says of the
// cluster is current. Those who come while the store is asked share the next
// question.
type freshness struct {
	r *Runtime

	mu      sync.Mutex // guards what follows
	waiting []func(bool)
	asking  bool
	running sync.WaitGroup
}

// Fresh calls done once the driver has been told of everything that was
// committed before the call, or with false where that can't be found out, or
// this gateway has no right to serve. REPORT TARGET PORT GROUPS answers after
// that, or drops the session (R5). done is called on another goroutine.
func (r *Runtime) Fresh(done func(ok bool)) {
	f := &r.fresh
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, done)
	if !f.asking {
		f.asking = true
		f.running.Go(f.run)
	}
}

// run answers until nobody waits. Each round takes two time-outs at most.
func (f *freshness) run() {
	for {
		f.mu.Lock()
		waiting := f.waiting
		f.waiting = nil
		f.asking = len(waiting) > 0
		f.mu.Unlock()
		if len(waiting) == 0 {
			return
		}
		ok := f.r.reachCurrent() && f.r.Right()
		for _, done := range waiting {
			done(ok)
		}
	}
}

// reachCurrent waits until the machine has taken all that is committed now, and
// so has what else the driver answers from.
func (r *Runtime) reachCurrent() bool {
	l := r.present()
	if l == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.o.Timeout)
	defer cancel()
	rev, err := r.o.Store.Current(ctx)
	return err == nil && l.follow.reach(ctx, rev) && (r.o.Reached == nil || r.o.Reached(ctx, rev))
}
