package meta

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"sango/internal/pause"
	"sango/internal/san"
)

// beatWait is longer than any gateway is silent that lives: its heartbeats are a
// sixth of the time apart for which they count, and that is 10 s at the most.
const beatWait = 2500 * time.Millisecond

// still fails where a gateway lives that serves with this store: it would go on
// writing to volumes beside whoever gets them from the store that is put back.
func (s *Store) still(ctx context.Context) error {
	before, err := s.beats(ctx)
	if err != nil || len(before) == 0 {
		return err
	}
	if !pause.For(ctx, beatWait) {
		return ctx.Err()
	}
	after, err := s.beats(ctx)
	for name, rev := range after {
		if rev != before[name] {
			return san.Errorf(san.ErrRefused, "gateway %s is alive and serves with this metadata: stop it, and all others, first", name)
		}
	}
	return err
}

// beats returns the revisions of the last heartbeats.
func (s *Store) beats(ctx context.Context) (revs map[string]int64, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		revs = map[string]int64{}
		return tx.each(string(RecordBeat), func(name string, kv *mvccpb.KeyValue) error {
			revs[name] = kv.ModRevision
			return nil
		})
	})
	return revs, err
}
