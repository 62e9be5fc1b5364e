package meta

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sango/internal/san"
)

// claimed opens the store of a directory for a gateway and closes it again.
func claimed(t *testing.T, dir string, o Options, node san.UUID) error {
	t.Helper()
	o.Log = quiet(t)
	s, err := Open(t.Context(), dir, o)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Claim(t.Context(), &Claim{Node: node, Gateway: "gw1"})
}

// at are the options of a client of the etcd of a member.
func at(m *running) Options {
	return Options{NoSync: true, External: &External{Endpoints: []string{m.opts.Member.Client}}}
}

// A directory whose configuration names another etcd than before is refused,
// unless that holds the same store, or the directory is told to forget.
func TestAnotherStoreIsRefused(t *testing.T) {
	one, other, third := cluster(t, 1)[0], cluster(t, 1)[0], cluster(t, 1)[0]
	dir, node := t.TempDir(), san.NewUUID()
	for range 2 {
		if err := claimed(t, dir, at(one), node); err != nil {
			t.Fatal(err)
		}
	}
	err := claimed(t, dir, at(other), node)
	if !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "is another one") || !strings.Contains(err.Error(), "remove "+filepath.Join(dir, formName)) {
		t.Fatalf("another store: %v", err)
	}
	// One that is empty is left so.
	wipe(t, third.Store)
	if _, err := third.kv.Delete(t.Context(), prefix+storeKey); err != nil {
		t.Fatal(err)
	}
	if _, err := third.kv.Delete(t.Context(), prefix+"schema"); err != nil {
		t.Fatal(err)
	}
	if err := claimed(t, dir, at(third), node); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("an empty store: %v", err)
	}
	update(t, third.Store, func(tx *Tx) error {
		if found, err := tx.has("schema"); found || err != nil {
			t.Error("the empty store was filled", err)
		}
		return nil
	})
	// A backup takes the identity along, wherever it is put back.
	var file bytes.Buffer
	if err := one.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	elsewhere := at(third)
	elsewhere.Log = quiet(t)
	if _, err := Restore(t.Context(), t.TempDir(), elsewhere, bytes.NewReader(file.Bytes()), false); err != nil {
		t.Fatal(err)
	}
	if err := claimed(t, dir, at(third), node); err != nil {
		t.Errorf("the same store elsewhere: %v", err)
	}
	// On purpose.
	if err := os.Remove(filepath.Join(dir, formName)); err != nil {
		t.Fatal(err)
	}
	if err := claimed(t, dir, at(other), node); err != nil {
		t.Error(err)
	}
	if err := claimed(t, dir, at(one), node); !errors.Is(err, san.ErrRefused) {
		t.Errorf("the former store: %v", err)
	}
}

// A directory whose etcd files are gone does not start with an empty store.
func TestLostStoreIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	dir, o := t.TempDir(), Options{NoSync: true}
	s := open(t, dir, o)
	var file bytes.Buffer
	if err := s.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := claimed(t, dir, o, san.NewUUID()); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "sango cluster restore") {
			t.Fatalf("an emptied directory: %v", err)
		}
	}
	o.Log = quiet(t)
	if _, err := Restore(t.Context(), dir, o, bytes.NewReader(file.Bytes()), false); err != nil {
		t.Fatal(err)
	}
	open(t, dir, o).Close()
}

// A restored backup that has no identity leaves the store or the directory its
// own.
func TestRestoreWithoutIdentity(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	update(t, s, func(tx *Tx) error { tx.del(storeKey); return nil })
	var file bytes.Buffer
	if err := s.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	dir, o := t.TempDir(), Options{NoSync: true, Log: quiet(t)}
	restore := func() san.UUID {
		if _, err := Restore(t.Context(), dir, o, bytes.NewReader(file.Bytes()), true); err != nil {
			t.Fatal(err)
		}
		open(t, dir, o).Close()
		f, err := readForm(dir)
		if err != nil || f.Store.IsZero() {
			t.Fatal(f, err)
		}
		return f.Store
	}
	id := restore()
	if again := restore(); again != id {
		t.Errorf("%s became %s", id, again)
	}
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	if again := restore(); again != id {
		t.Errorf("%s became %s in an emptied directory", id, again)
	}
}

// A configuration with which nothing was ever stored does not stand in the way
// of the right one.
func TestWrongFirstConfigurationIsReplaced(t *testing.T) {
	t.Parallel()
	first := func(t *testing.T, dir string, o Options) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		o.Log, o.NoSync = quiet(t), true
		s, err := Open(ctx, dir, o)
		if err == nil {
			s.Close()
		}
		return err
	}
	const nobody, nobody2 = "127.0.0.1:1", "127.0.0.1:2" // no port that the kernel gives to somebody meanwhile
	own := freeAddrs(t, 1)[0]
	nowhere := Options{External: &External{Endpoints: []string{nobody}}}
	lonely := Options{Member: &Member{Name: "m0", Peer: own, Members: []string{"m0=" + own, "m1=" + nobody, "m2=" + nobody2}}}
	for name, wrong := range map[string]Options{"external": nowhere, "member": lonely} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for range 2 { // the same again is no other
				if err := first(t, dir, wrong); !errors.Is(err, san.ErrUnavailable) {
					t.Fatalf("nobody is there: %v", err)
				}
			}
			open(t, dir, Options{NoSync: true}).Close()
		})
	}
	t.Run("of another gateway", func(t *testing.T) {
		m, dir := cluster(t, 1)[0], t.TempDir()
		if err := claimed(t, t.TempDir(), at(m), san.NewUUID()); err != nil {
			t.Fatal(err)
		}
		if err := claimed(t, dir, at(m), san.NewUUID()); !errors.Is(err, san.ErrRefused) {
			t.Fatalf("the store of another gateway: %v", err)
		}
		open(t, dir, Options{NoSync: true}).Close()
	})
	t.Run("other members", func(t *testing.T) {
		dir := t.TempDir()
		if err := first(t, dir, lonely); !errors.Is(err, san.ErrUnavailable) {
			t.Fatal(err)
		}
		one := Options{Member: &Member{Name: "m0", Peer: own}}
		if err := first(t, dir, one); err != nil {
			t.Fatal(err)
		}
		// From now on there is something to lose.
		if err := first(t, dir, Options{}); !errors.Is(err, san.ErrRefused) {
			t.Errorf("a member opened as a store that is alone: %v", err)
		}
	})
}

// A member that took part in an election before its first start was over keeps
// its log whatever the configuration says.
func TestMemberThatVotedIsKept(t *testing.T) {
	m := cluster(t, 1)[0]
	dir := m.dir
	m.stop()
	if err := (form{Member: m.opts.Member}).save(dir); err != nil { // as before its first success
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{NoSync: true, Log: quiet(t)}); !errors.Is(err, san.ErrRefused) {
		t.Fatalf("alone: %v", err)
	}
	m.start(t)
}
