package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/pause"
)

// follower keeps a stream of the store going: it begins again, with a snapshot,
// where the stream ended, and where it tells nothing although the store has
// more. An embedded member of the metadata cluster that is cut off from the
// others is silent so.
type follower struct {
	store       Store
	coordinator bool
	every       time.Duration // between two looks at the store
	stall       time.Duration // in which the stream has to come to what the store has
	timeout     time.Duration // of a read
	log         *slog.Logger
	deliver     func(model.Event) error // takes an event and what follows from it

	mu    sync.Mutex // guards what follows
	told  model.Revision
	moved chan struct{}
}

// run follows until ctx is done.
func (f *follower) run(ctx context.Context) {
	again := againFirst
	for ctx.Err() == nil {
		began := time.Now()
		if err := f.once(ctx); err != nil && ctx.Err() == nil {
			f.log.Warn("the stream of the metadata ended; it begins again", "error", err)
		}
		if time.Since(began) > 2*againMost {
			again = againFirst
		}
		if !pause.For(ctx, again) {
			return
		}
		again = min(2*again, againMost)
	}
}

func (f *follower) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var looking sync.WaitGroup
	defer looking.Wait()
	defer cancel()
	looking.Go(func() {
		for pause.For(ctx, f.every) {
			if !f.current(ctx) && ctx.Err() == nil {
				f.log.Warn("the stream of the metadata is silent; it begins again")
				cancel()
			}
		}
	})
	return f.store.Follow(ctx, f.coordinator, func(rev model.Revision, ev model.Event) error {
		if ev != nil {
			if err := f.deliver(ev); err != nil {
				return err
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.told = max(f.told, rev); f.moved != nil {
			close(f.moved)
			f.moved = nil
		}
		return nil
	})
}

// current reports whether the stream comes to what the store has now. Where the
// store does not answer, nothing is known against the stream.
func (f *follower) current(ctx context.Context) bool {
	asking, cancel := context.WithTimeout(ctx, f.timeout)
	rev, err := f.store.Current(asking)
	cancel()
	if err != nil {
		return true
	}
	ctx, cancel = context.WithTimeout(ctx, f.stall)
	defer cancel()
	return f.reach(ctx, rev)
}

// reach waits until the stream has told all up to rev, and that was taken.
func (f *follower) reach(ctx context.Context, rev model.Revision) bool {
	for {
		f.mu.Lock()
		if f.told >= rev {
			f.mu.Unlock()
			return true
		}
		if f.moved == nil {
			f.moved = make(chan struct{})
		}
		moved := f.moved
		f.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}
