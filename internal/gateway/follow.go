package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// source is where a view learns of changes: a *meta.Store.
type source interface {
	Load(ctx context.Context) (*meta.Snapshot, error)
	Watch(ctx context.Context, revision int64, f func(revision int64, changes []meta.Change) error) error
}

// watchAgain is the wait before the metadata is asked again after it did not
// answer.
const watchAgain = time.Second

// follow puts every change of the metadata after revision into effect, until
// ctx is done. Changes that come while others are being applied are applied
// together. Where the history is gone, or the store was away for a while, it
// starts afresh from the whole.
func (v *view) follow(ctx context.Context, from source, revision int64) error {
	q := newQueue()
	var applier sync.WaitGroup
	applier.Go(func() {
		for {
			b, ok := q.take()
			if !ok {
				return
			}
			if b.whole != nil {
				v.replace(b.whole)
			} else {
				v.apply(b.batch)
			}
		}
	})
	defer applier.Wait()
	defer q.close()
	for {
		err := from.Watch(ctx, revision, func(rev int64, c []meta.Change) error {
			v.heard(rev, len(c) > 0, slices.ContainsFunc(c, func(c meta.Change) bool { return c.Gateway != "" }))
			q.put(batch{rev, c})
			return nil
		})
		for err != nil {
			if errors.Is(err, san.ErrUnavailable) {
				v.n.cfg.Log.Warn("changes of the metadata do not come in; trying again", "error", err)
				if !pause.For(ctx, watchAgain) {
					return nil
				}
			} else if !errors.Is(err, meta.ErrBehind) {
				v.fail(err)
				return err
			}
			var snap *meta.Snapshot
			if snap, err = from.Load(ctx); err == nil {
				v.heard(snap.Revision, true, true)
				q.replace(snap)
				revision = snap.Revision
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}
