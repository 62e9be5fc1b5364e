package layered

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"sango/internal/block"
)

// TestSnapshotsUnderLoad takes snapshots, deletes them and lets merges run
// while writers and readers go on. Each writer counts up in its blocks in
// order, so that a snapshot shows a prefix of its work.
func TestSnapshotsUnderLoad(t *testing.T) {
	const writers, blocks = 4, 96 // blocks of 4 KiB each; three to two clusters
	s := openStore(t, t.TempDir(), Options{Rate: -1})
	id, d := newVolume(t, s, writers*blocks*4096)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for n := byte(1); !stop.Load(); n = n%250 + 1 {
				for b := range blocks {
					off := int64(i*blocks+b) * 4096
					if err := block.WriteAt(d, bytes.Repeat([]byte{n}, 4096), off, 0); err != nil {
						t.Error(err)
						return
					}
					if r.IntN(8) == 0 {
						p := make([]byte, 4096)
						if err := block.ReadAt(d, p, off); err != nil || !bytes.Equal(p, bytes.Repeat([]byte{n}, 4096)) {
							t.Errorf("block %d of writer %d reads %d, want %d (%v)", b, i, p[0], n, err)
							return
						}
					}
				}
			}
		})
	}
	for round := range 20 {
		name := fmt.Sprint(round)
		must(t, s.Snapshot(id, name))
		snap, err := s.OpenSnapshot(id, name)
		must(t, err)
		for i := range writers {
			p := make([]byte, blocks*4096)
			must(t, block.ReadAt(snap, p, int64(i*blocks*4096)))
			steps := 0
			for b := 1; b < blocks; b++ {
				if p[b*4096] != p[(b-1)*4096] {
					steps++
				}
			}
			if steps > 1 {
				t.Errorf("snapshot %s cuts the writes of %d in %d places", name, i, steps)
			}
		}
		must(t, snap.Close())
		if round >= 3 {
			must(t, s.DeleteSnapshot(id, fmt.Sprint(round-3)))
		}
	}
	stop.Store(true)
	wg.Wait()
	for round := 17; round < 20; round++ {
		must(t, s.DeleteSnapshot(id, fmt.Sprint(round)))
	}
	s.waitJobs(id)
	st, err := s.Stat(id)
	must(t, err)
	if st.Layers != 1 {
		t.Errorf("%d layers are left, want 1", st.Layers)
	}
	for i := range writers {
		p := make([]byte, 4096)
		must(t, block.ReadAt(d, p, int64(i*blocks*4096)))
	}
	must(t, d.Close())
}

// TestMergeProgress looks at a merge that is throttled to almost nothing, and
// then let go.
func TestMergeProgress(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Rate: 1})
	id, d := newVolume(t, s, 64<<20)
	fill(t, d, 0, 24<<20, 1)
	must(t, s.Snapshot(id, "a"))
	fill(t, d, 0, 20<<20, 2)
	must(t, s.DeleteSnapshot(id, "a"))
	jobs := s.Jobs()
	if len(jobs) != 1 || jobs[0].Volume != id || !jobs[0].Running && jobs[0].Total == 0 {
		// It may not have begun yet: then it has nothing to report.
		if len(jobs) != 0 {
			t.Fatalf("jobs %+v", jobs)
		}
	}
	fill(t, d, 1<<20, 1<<20, 3) // work goes on meanwhile
	must(t, d.Close())          // ends it
	d, err := s.Open(id)        // goes on
	must(t, err)
	s.SetRate(0)
	s.waitJobs(id)
	if jobs := s.Jobs(); len(jobs) != 0 {
		t.Errorf("jobs %+v after the merge", jobs)
	}
	expect(t, d, 0, 1<<20, 2)
	expect(t, d, 1<<20, 1<<20, 3)
	expect(t, d, 2<<20, 18<<20, 2)
	expect(t, d, 20<<20, 4<<20, 1)
	must(t, d.Close())
}

// TestCopyUpTogether lets many requests hit the same cluster for the first
// time at once.
func TestCopyUpTogether(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	id, d := newVolume(t, s, 4*clusterSize)
	fill(t, d, 0, 4*clusterSize, 1)
	for round := range 20 {
		must(t, s.Snapshot(id, fmt.Sprint(round)))
		var wg sync.WaitGroup
		errs := make([]error, 32)
		for i := range errs {
			wg.Go(func() {
				off := int64(i) * 4 * clusterSize / 32
				errs[i] = block.WriteAt(d, bytes.Repeat([]byte{byte(round + i)}, 4096), off, 0)
			})
		}
		wg.Wait()
		must(t, errors.Join(errs...))
		for i := range errs {
			off := int64(i) * 4 * clusterSize / 32
			expect(t, d, off, 4096, byte(round+i))
			expect(t, d, off+4096, 4096, 1)
		}
	}
	must(t, d.Close())
}
