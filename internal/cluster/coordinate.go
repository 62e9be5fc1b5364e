package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/pause"
	"sango/internal/san"
)

// stand has this member be a candidate until it is over.
func (l *life) stand(m model.Member) {
	ctx, cancel := context.WithCancel(l.ctx)
	l.campaign = cancel
	l.working.Go(func() { l.r.stand(ctx, m) })
}

func (r *Runtime) stand(ctx context.Context, m model.Member) {
	again := againFirst
	for ctx.Err() == nil {
		office, err := r.o.Store.Campaign(ctx, m, r.o.Term)
		if err == nil {
			again = againFirst
			r.coordinate(ctx, office)
			continue
		}
		r.o.Log.Debug("no election", "error", err)
		pause.For(ctx, again)
		again = min(2*again, againMost)
	}
}

// resignTime bounds the giving up of an office.
const resignTime = time.Second

// coordinate runs a coordinator until its office is over.
func (r *Runtime) coordinate(ctx context.Context, office Office) {
	ctx, cancel := context.WithCancel(ctx)
	c := &coordinating{r: r, ctx: ctx, pump: newPump(r.now), failed: map[model.Fence]int{}}
	r.office.Store(true)
	r.o.Log.Info("this gateway coordinates", "term", office.Term())
	defer func() {
		r.office.Store(false)
		cancel()
		c.pump.end()
		c.working.Wait()
		r.forgetFences()
		giving, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignTime)
		defer cancel()
		office.Resign(giving)
		r.o.Log.Info("this gateway does not coordinate any more", "term", office.Term())
	}()
	c.working.Go(func() {
		select {
		case <-office.Lost():
			cancel()
		case <-ctx.Done():
		}
	})
	follow := follower{
		store: r.o.Store, coordinator: true, every: r.o.Timeout, stall: 3 * r.o.Timeout, timeout: r.o.Timeout, log: r.o.Log,
		deliver: c.deliver,
	}
	m := model.NewCoordinator(r.o.Times)
	c.pump.post(model.Elected{Term: office.Term()})
	c.working.Go(func() { follow.run(ctx) })
	c.pump.run(ctx, m, func(effects []model.Effect) bool {
		for _, e := range effects {
			c.do(e)
		}
		return true
	})
}

// coordinating is a coordinator's machine with what does what it says.
type coordinating struct {
	r       *Runtime
	ctx     context.Context
	pump    *pump
	working sync.WaitGroup

	mu     sync.Mutex // guards what follows
	failed map[model.Fence]int
}

func (c *coordinating) deliver(ev model.Event) error {
	if !c.pump.wait(c.ctx, ev, nil) {
		return errOver
	}
	return nil
}

// do does what the machine says; it has a bounded number of things under way.
func (c *coordinating) do(e model.Effect) {
	switch e := e.(type) {
	case model.Propose:
		c.working.Go(func() { c.pump.post(c.r.commit(c.ctx, e)) })
	case model.Fence:
		c.working.Go(func() { c.fence(e) })
	}
}

// fence has a member fenced. What failed is answered after a pause that grows:
// the machine asks again at once.
func (c *coordinating) fence(e model.Fence) {
	ended := model.FenceEnded{Member: e.Member, Volume: e.Volume}
	err := c.r.fence(c.ctx, e)
	c.r.noteFence(e, err)
	if ended.OK = err == nil; ended.OK {
		level := slog.LevelDebug // there may be a thousand volumes
		if e.Volume.IsZero() {
			level = slog.LevelWarn
		}
		c.r.o.Log.Log(c.ctx, level, "fenced", "member", e.Member, "volume", what(e))
		c.pump.post(ended)
		return
	}
	c.mu.Lock()
	n := c.failed[e]
	c.failed[e] = n + 1
	c.mu.Unlock()
	wait := min(fenceAgain<<min(n, 10), fenceMost)
	if n == 0 {
		c.r.o.Log.Error("a fence failed; it is tried again", "member", e.Member, "volume", what(e), "error", err)
	}
	if pause.For(c.ctx, wait) {
		c.pump.post(ended)
	}
}

func what(e model.Fence) string {
	if e.Volume.IsZero() {
		return "all"
	}
	return e.Volume.String()
}

// Pauses after a fence that failed.
const (
	fenceAgain = 100 * time.Millisecond
	fenceMost  = 10 * time.Second
)

func (r *Runtime) fence(ctx context.Context, e model.Fence) error {
	switch {
	case r.o.Fencer == nil:
		return san.Errorf(san.ErrRefused, "this gateway has no means to fence another")
	case e.Volume.IsZero():
		return r.o.Fencer.FenceGateway(ctx, e.Member)
	}
	return r.o.Fencer.FenceVolume(ctx, e.Member, e.Volume)
}
