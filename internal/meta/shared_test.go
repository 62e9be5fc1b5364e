package meta

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"sango/internal/san"
)

// The first gateway says which directory of volumes all share, and a backup
// knows it too.
func TestSharedVolumes(t *testing.T) {
	s := fresh(t)
	ours, other := san.NewUUID(), san.NewUUID()
	is := func(s *Store, want san.UUID) {
		t.Helper()
		update(t, s, func(tx *Tx) error {
			id, err := tx.SharedVolumes()
			if id != want {
				t.Errorf("shared: %s, want %s", id, want)
			}
			return err
		})
	}
	is(s, san.UUID{})
	share := func(s *Store, id san.UUID) error {
		return s.Update(t.Context(), func(tx *Tx) error { return tx.ShareVolumes(id) })
	}
	if err := share(s, san.UUID{}); !errors.Is(err, san.ErrInvalid) {
		t.Errorf("no identity: %v", err)
	}
	for range 2 {
		if err := share(s, ours); err != nil {
			t.Fatal(err)
		}
	}
	if err := share(s, other); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), ours.String()) || !strings.Contains(err.Error(), "volumes:") {
		t.Errorf("another one: %v", err)
	}
	is(s, ours)
	var file bytes.Buffer
	if err := s.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	dir, o := t.TempDir(), Options{NoSync: true, Log: quiet(t)}
	if _, err := Restore(t.Context(), dir, o, bytes.NewReader(file.Bytes()), false); err != nil {
		t.Fatal(err)
	}
	s2 := open(t, dir, o)
	defer s2.Close()
	is(s2, ours)
	if err := share(s2, other); !errors.Is(err, san.ErrRefused) {
		t.Errorf("another one after the restore: %v", err)
	}
}

// Of two gateways that name different directories at the same time, one is
// refused.
func TestSharedVolumesMeet(t *testing.T) {
	s := fresh(t)
	first := san.NewUUID()
	met := false
	err := s.Update(t.Context(), func(tx *Tx) error {
		err := tx.ShareVolumes(san.NewUUID())
		if !met {
			met = true
			update(t, s, func(tx *Tx) error { return tx.ShareVolumes(first) })
		}
		return err
	})
	if !errors.Is(err, san.ErrRefused) {
		t.Errorf("the second one: %v", err)
	}
}
