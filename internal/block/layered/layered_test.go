package layered

import (
	"log/slog"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/san"
)

func TestMain(m *testing.M) {
	if helper() {
		return
	}
	goleak.VerifyTestMain(m)
}

// quiet is a log for tests that cause warnings on purpose.
var quiet = slog.New(slog.DiscardHandler)

func openStore(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet
	}
	s, err := OpenStore(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// suite runs the contract suite; prepare gets each new volume before it opens.
func suite(t *testing.T, o Options, maxSize int64, prepare func(t testing.TB, s *Store, id san.UUID)) {
	type home struct {
		s  *Store
		id san.UUID
	}
	var mu sync.Mutex
	homes := map[block.Device]home{}
	open := func(t testing.TB, h home, o OpenOptions) block.Device {
		d, err := h.s.OpenAs(h.id, o)
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		homes[d] = h
		return d
	}
	create := func(t testing.TB, sp blocktest.Spec) home {
		h := home{openStore(t, t.TempDir(), o), san.NewUUID()}
		if err := h.s.Create(CreateSpec{ID: h.id, Size: sp.Size, BlockSize: sp.BlockSize}); err != nil {
			t.Fatal(err)
		}
		if prepare != nil {
			prepare(t, h.s, h.id)
		}
		return h
	}
	at := func(d block.Device) home {
		mu.Lock()
		defer mu.Unlock()
		return homes[d]
	}
	blocktest.Run(t, blocktest.Driver{
		MaxSize: maxSize,
		New:     func(t testing.TB, sp blocktest.Spec) block.Device { return open(t, create(t, sp), OpenOptions{}) },
		Resize:  func(d block.Device, size int64) error { h := at(d); return h.s.Resize(h.id, size) },
		Reopen:  func(t testing.TB, d block.Device) block.Device { return open(t, at(d), OpenOptions{}) },
		ReadOnly: func(t testing.TB, sp blocktest.Spec) block.Device {
			return open(t, create(t, sp), OpenOptions{ReadOnly: true})
		},
	})
}

func TestContract(t *testing.T) { suite(t, Options{}, san.MaxVolumeSize, nil) }

func TestContractWithSnapshot(t *testing.T) {
	suite(t, Options{}, san.MaxVolumeSize, func(t testing.TB, s *Store, id san.UUID) {
		if err := s.Snapshot(id, "empty"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestContractSmallSegments(t *testing.T) {
	suite(t, Options{Segment: 2 * clusterSize}, 64<<20, func(t testing.TB, s *Store, id san.UUID) {
		if err := s.Snapshot(id, "empty"); err != nil {
			t.Fatal(err)
		}
	})
}
