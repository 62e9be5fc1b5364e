package meta

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/san"
)

func TestStateSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	v := volume(t, s, "disk1")
	update(t, s, func(tx *Tx) error {
		if err := tx.CreateHost(&san.Host{Name: "web", IQN: "iqn.2026-11.com.example:web", Auth: []san.CHAP{{User: "web", Secret: "0123456789ab"}}}); err != nil {
			return err
		}
		return tx.CreateTarget(&san.Target{Name: "iqn.2026-11.com.example:disks"})
	})
	update(t, s, func(tx *Tx) error { return tx.Allow("web", "iqn.2026-11.com.example:disks") })
	update(t, s, func(tx *Tx) error {
		_, err := tx.Map("iqn.2026-11.com.example:disks", 7, san.Mapping{Volume: v.ID, Hosts: []string{"web"}})
		return err
	})
	g := &Gateway{Name: "gw1", Portals: []Portal{{Name: "a", Listen: "127.0.0.1:3260", Advertise: "127.0.0.1:3260"}}}
	update(t, s, func(tx *Tx) error { return tx.Register(g) })
	if err := s.Unit(v.ID).Save("reservations", []byte("held")); err != nil {
		t.Fatal(err)
	}
	before, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()

	s = open(t, dir, Options{})
	defer s.Close()
	after, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after.Revision = before.Revision
	if d := cmp.Diff(before, after, cmp.Comparer(func(a, b san.Host) bool { return a.Name == b.Name && a.IQN == b.IQN })); d != "" {
		t.Errorf("after the restart (-before +after):\n%s", d)
	}
	if m := after.Targets["iqn.2026-11.com.example:disks"].LUNs[7]; m.Volume != v.ID {
		t.Errorf("LUN 7 maps %v, want %s", m, v.ID)
	}
	if b, err := s.Unit(v.ID).Load("reservations"); err != nil || string(b) != "held" {
		t.Errorf("reservations = %q, %v", b, err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{NoSync: true})
	update(t, s, func(tx *Tx) error { return tx.put("schema", known.newest+1) })
	s.Close()
	if s, err := Open(t.Context(), dir, Options{NoSync: true}); !errors.Is(err, san.ErrRefused) {
		t.Errorf("Open = %v", err)
		if err == nil {
			s.Close()
		}
	}
}

// The store must not listen anywhere: neither ports nor sockets.
// Garbage in the place of the database is an error with a way out, no panic.
func TestDamagedDatabaseIsAnError(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{NoSync: true})
	s.Close()
	path := filepath.Join(dir, "etcd", "member", "snap", "db")
	for _, garbage := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("garbage "), 1<<14)} {
		if err := os.WriteFile(path, garbage, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), dir, Options{NoSync: true, Log: slog.New(slog.DiscardHandler)})
		switch {
		case err == nil && len(garbage) > 0:
			t.Errorf("a database of %d bytes of garbage opened", len(garbage))
		case err != nil && !strings.Contains(err.Error(), "backup"):
			t.Errorf("%v", err)
		}
		if err == nil {
			s.Close()
		} else if len(garbage) == 0 {
			t.Error("an empty database, as a first start that was killed leaves it, does not open")
		}
	}
}

func TestNoSocket(t *testing.T) {
	s := fresh(t)
	if len(s.etcd.Clients) != 0 || len(s.etcd.Peers) != 0 {
		t.Errorf("etcd listens: %d client, %d peer listeners", len(s.etcd.Clients), len(s.etcd.Peers))
	}
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" { // LISTEN
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if l, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && inodes[l] {
			t.Errorf("descriptor %s is a listening socket", fd.Name())
		}
	}
}

func TestUpdateErrorChangesNothing(t *testing.T) {
	s := fresh(t)
	boom := errors.New("boom")
	err := s.Update(context.Background(), func(tx *Tx) error {
		if err := tx.CreateTarget(&san.Target{Name: "iqn.2026-11.com.example:a"}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	snap, err := s.Load(t.Context())
	if err != nil || len(snap.Targets) != 0 {
		t.Errorf("targets = %v, %v", snap.Targets, err)
	}
}

func TestUnknownFieldIsNotDropped(t *testing.T) {
	s := fresh(t)
	update(t, s, func(tx *Tx) error {
		return tx.put("hosts/future", map[string]any{"name": "future", "iqn": "iqn.2026-11.a.b", "wings": 2})
	})
	if _, err := s.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "wings") {
		t.Errorf("Load = %v, want an error that names the field", err)
	}
}
