package meta

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/pprof"
	"testing"

	"sango/internal/san"
)

// TestMain fails where a test left an etcd: that ends the whole process, without
// a word, up to half a minute after its directory is gone.
func TestMain(m *testing.M) {
	code := m.Run()
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		panic(err)
	}
	if bytes.Contains(stacks.Bytes(), []byte("etcdserver.(*EtcdServer).purgeFile")) {
		fmt.Println("FAIL: an etcd was left that runs")
		code = 1
	}
	os.Exit(code)
}

// open returns a store in dir that is closed with the test, if that did not do
// so itself: see TestMain.
func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cli.Ctx().Err() == nil {
			s.Close()
		}
	})
	return s
}

// fresh returns an empty store.
func fresh(t *testing.T) *Store {
	t.Helper()
	return open(t, t.TempDir(), Options{NoSync: true})
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
