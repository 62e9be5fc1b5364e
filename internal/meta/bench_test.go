package meta

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// benchForms opens each form, with fsync.
func benchForms(b *testing.B, run func(b *testing.B, s *Store)) {
	b.Run("alone", func(b *testing.B) {
		s, err := Open(b.Context(), b.TempDir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		run(b, s)
	})
	b.Run("three", func(b *testing.B) {
		addrs := freeAddrs(b, 3)
		var list []string
		for i, a := range addrs {
			list = append(list, fmt.Sprintf("m%d=%s", i, a))
		}
		stores := make([]*Store, len(addrs))
		var wg sync.WaitGroup
		for i, a := range addrs {
			wg.Go(func() {
				s, err := Open(b.Context(), b.TempDir(), Options{Member: &Member{Name: fmt.Sprintf("m%d", i), Peer: a, Members: list}})
				if err != nil {
					b.Error(err)
					return
				}
				stores[i] = s
			})
		}
		wg.Wait()
		for _, s := range stores {
			if s == nil {
				b.FailNow()
			}
			defer s.Close()
		}
		run(b, stores[0])
	})
}

// BenchmarkBeat is one guarded transaction: one at a time, and from many
// gateways at once.
func BenchmarkBeat(b *testing.B) {
	benchForms(b, func(b *testing.B, s *Store) {
		const gateways = 64
		var born [gateways]Guard
		for i := range born {
			r := incarnationRecord(fmt.Sprintf("gw%d", i), 1, Alive)
			rev, made, err := s.Change(b.Context(), nil, []Record{r})
			if err != nil || !made {
				b.Fatal(made, err)
			}
			born[i] = Guard{r.RecordKey, rev}
		}
		beat := func(b *testing.B, i int) {
			r := Record{RecordKey: RecordKey{RecordBeat, born[i].Name}, Value: &Beat{Incarnation: 1, Count: 1}}
			if _, made, err := s.Change(b.Context(), born[i:i+1], []Record{r}); err != nil || !made {
				b.Error(made, err)
			}
		}
		b.Run("one", func(b *testing.B) {
			for b.Loop() {
				beat(b, 0)
			}
		})
		b.Run("many", func(b *testing.B) {
			var next atomic.Int64
			b.SetParallelism(gateways / 2)
			b.RunParallel(func(pb *testing.PB) {
				i := int(next.Add(1)) % gateways
				for pb.Next() {
					beat(b, i)
				}
			})
		})
	})
}

// BenchmarkWatch is from a commit to the moment at which a watch is told.
func BenchmarkWatch(b *testing.B) {
	benchForms(b, func(b *testing.B, s *Store) {
		rev, err := s.Current(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		told := make(chan int64, 1)
		go func() { // ends with the store
			_ = s.Watch(b.Context(), rev, func(rev int64, _ []Change) error {
				told <- rev
				return nil
			})
		}()
		for b.Loop() {
			if err := s.Update(b.Context(), func(tx *Tx) error { return tx.put("hosts/x", map[string]string{"name": "x"}) }); err != nil {
				b.Fatal(err)
			}
			<-told
		}
	})
}
