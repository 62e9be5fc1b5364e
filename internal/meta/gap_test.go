package meta

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// Who begins to follow, or to watch, while others ask what is current misses
// nothing, and is told of no revision before of what it holds.
func streamsHaveNoGap(t *testing.T, s, s2 *Store) {
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	defer busy.Wait()
	defer cancel()
	for range 2 { // whose progress is asked for all the time
		busy.Go(func() { _ = s2.Watch(ctx, 1, func(int64, []Change) error { return nil }) })
		busy.Go(func() { _ = s2.Follow(ctx, true, func(int64, bool, []Record) error { return nil }) })
	}
	busy.Go(func() {
		for ctx.Err() == nil {
			_, _ = s2.Current(ctx)
		}
	})
	key := RecordKey{RecordIncarnation, "a"}
	first := change1(t, s, nil, incarnationRecord("a", 1, Alive))
	made := map[int64]uint64{first: 1} // revisions of the record
	var mu sync.Mutex                  // guards made
	busy.Go(func() {
		for n := uint64(2); ctx.Err() == nil; n++ {
			mu.Lock()
			rev, ok, err := s.Change(ctx, nil, []Record{{RecordKey: key, Value: &Incarnation{Number: n, Life: Alive}}})
			if ok && err == nil {
				made[rev] = n
			}
			mu.Unlock()
		}
	})
	enough := errors.New("enough")
	for range 50 {
		last, more := uint64(0), 5
		err := s2.Follow(ctx, true, func(rev int64, _ bool, records []Record) error {
			for _, r := range records {
				i, ok := r.Value.(*Incarnation)
				if !ok || r.Name != "a" {
					continue
				}
				if last != 0 && i.Number != last+1 {
					t.Errorf("%d is told after %d", i.Number, last)
				}
				last = i.Number
				more--
			}
			mu.Lock()
			if n, ok := made[rev]; ok && n > last {
				t.Errorf("revision %d is told, in which the record has %d, and %d was told of it", rev, n, last)
			}
			mu.Unlock()
			if more <= 0 || t.Failed() {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}
