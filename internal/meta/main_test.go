package meta

import (
	"context"
	"log/slog"
	"testing"

	"sango/internal/san"
)

// open returns a store in dir that is closed with the test.
func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fresh returns an empty store.
func fresh(t *testing.T) *Store {
	t.Helper()
	s := open(t, t.TempDir(), Options{NoSync: true})
	t.Cleanup(s.Close)
	return s
}

// update runs fn and wants it to work.
func update(t *testing.T, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// volume adds a volume and returns its record.
func volume(t *testing.T, s *Store, name string) *san.Volume {
	t.Helper()
	v := &san.Volume{ID: san.NewUUID(), Name: name, Driver: san.DriverLayered, Size: 1 << 30, BlockSize: 512, PhysicalBlock: 4096}
	update(t, s, func(tx *Tx) error { return tx.Begin(v.ID, name) })
	update(t, s, func(tx *Tx) error { return tx.CreateVolume(v) })
	return v
}
