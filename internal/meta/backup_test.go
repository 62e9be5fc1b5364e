package meta

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/san"
)

// filled makes one of everything that a backup has.
func filled(t *testing.T, s *Store) *san.Volume {
	t.Helper()
	const iqn = "iqn.2026-11.com.example:disks"
	v := volume(t, s, "disk1")
	update(t, s, func(tx *Tx) error { return tx.CreateTarget(&san.Target{Name: iqn, Open: true}) })
	update(t, s, func(tx *Tx) error { _, err := tx.Map(iqn, 3, san.Mapping{Volume: v.ID}); return err })
	register(t, s, "gw1")
	a1 := Owner{State: OwnerActive, Gateway: "gw1", Incarnation: 1, Epoch: 7}
	update(t, s, func(tx *Tx) error { return tx.put("owners/"+v.ID.String(), &a1) })
	if err := s.Unit(v.ID).Save("reservations", []byte("held \x00\xff")); err != nil {
		t.Fatal(err)
	}
	return v
}

func backupAndRestore(t *testing.T, s, s2 *Store) {
	v := filled(t, s)
	if err := s.Claim(t.Context(), &Claim{Node: san.NewUUID(), Gateway: "gw1"}); err != nil {
		t.Fatal(err)
	}
	before, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := s2.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	volume(t, s, "later")
	s.fence.Store(nil)
	restore := func(replace bool) error {
		info, err := ReadBackup(bytes.NewReader(file.Bytes()), func(string, []byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.restore(t.Context(), info, san.UUID{}, bytes.NewReader(file.Bytes()), replace)
		return err
	}
	if err := restore(false); !errors.Is(err, san.ErrRefused) {
		t.Fatalf("restore over what is there: %v", err)
	}
	for range 2 {
		if err := restore(true); err != nil {
			t.Fatal(err)
		}
		after, err := s2.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var o *Owner
		update(t, s2, func(tx *Tx) (err error) { o, err = tx.Owner(v.ID); return err })
		if o.State != OwnerActive || o.Epoch < 7+epochLeap {
			t.Errorf("owner = %+v", o)
		}
		if after.Claim != nil {
			t.Errorf("the claim was restored: %+v", after.Claim)
		}
		after.Revision, after.Claim = before.Revision, before.Claim
		if d := cmp.Diff(before, after); d != "" {
			t.Errorf("after the restore (-before +after):\n%s", d)
		}
		if b, err := s2.Unit(v.ID).Load("reservations"); err != nil || string(b) != "held \x00\xff" {
			t.Errorf("reservations = %q, %v", b, err)
		}
	}
	register(t, s, "gw1")
	c := &Claim{Node: san.NewUUID(), Gateway: "gw1"}
	if err := s2.Claim(t.Context(), c); err != nil {
		t.Errorf("a restored store is claimed: %v", err)
	}
	if c.Incarnation <= epochLeap {
		t.Errorf("incarnation %d may have been there before", c.Incarnation)
	}
}

// What was granted after a restore is not granted again after another of the
// same backup.
func TestRestoredTwice(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	filled(t, s)
	var file bytes.Buffer
	if err := s.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	dir, o := t.TempDir(), Options{NoSync: true, Log: quiet(t)}
	var last uint64
	node := san.NewUUID()
	for range 2 {
		if _, err := Restore(t.Context(), dir, o, bytes.NewReader(file.Bytes()), true); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, o)
		for range 3 {
			c := &Claim{Node: node, Gateway: "gw1"}
			if err := s.Claim(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if c.Incarnation <= last {
				t.Errorf("incarnation %d after %d", c.Incarnation, last)
			}
			last = c.Incarnation
		}
		s.Close()
	}
}

// Ids of port groups and portals that were given after the backup, or after a
// restore, are not given to others.
func TestRestoredIDs(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var empty, file bytes.Buffer
	if err := s.Backup(t.Context(), &empty); err != nil {
		t.Fatal(err)
	}
	gateway := func(s *Store, name string) *Gateway {
		g := &Gateway{Name: name, Portals: []Portal{{Name: "a"}, {Name: "b"}}}
		update(t, s, func(tx *Tx) error { return tx.Register(g) })
		return g
	}
	kept := gateway(s, "kept")
	if err := s.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	groups, tags := map[uint16]string{}, map[san.TPG]string{}
	note := func(g *Gateway) {
		for _, p := range g.Portals {
			if by := tags[p.TPG]; by != "" {
				t.Errorf("tag %d of %s is one of %s too", p.TPG, g.Name, by)
			}
			tags[p.TPG] = g.Name
		}
		if by := groups[g.Group]; by != "" {
			t.Errorf("group %d of %s is that of %s too", g.Group, g.Name, by)
		}
		groups[g.Group] = g.Name
	}
	note(kept)
	note(gateway(s, "later"))
	dir, o := t.TempDir(), Options{NoSync: true, Log: quiet(t)}
	for i, b := range []*bytes.Buffer{&file, &file, &empty} {
		if _, err := Restore(t.Context(), dir, o, bytes.NewReader(b.Bytes()), true); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, o)
		if again := gateway(s, "kept"); b == &file && again.Group != kept.Group {
			t.Errorf("group %d became %d", kept.Group, again.Group)
		} else if b == &empty {
			note(again)
		}
		note(gateway(s, fmt.Sprintf("new%d", i)))
		s.Close()
	}
}

// A restore that is repeated after it was cut short still knows the ids that
// had been given.
func TestHalfRestoredKnowsTheIDs(t *testing.T) {
	s := fresh(t)
	var file bytes.Buffer
	if err := s.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return tx.put("counters/"+portGroups, 4711) })
	if _, err := s.clear(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if left, err := s.clear(t.Context(), true); err != nil || left.Counters[portGroups] != 4711 || left.Store.IsZero() {
		t.Errorf("%+v, %v", left, err)
	}
}

// A volume that was being made at the time of the backup may be there when that
// is restored: nothing tells then that its bytes are left over.
func TestRestoreKeepsVolumesThatWereBeingMade(t *testing.T) {
	s := fresh(t)
	made, resized := &san.Volume{ID: san.NewUUID(), Name: "made"}, volume(t, s, "resized")
	update(t, s, func(tx *Tx) error { return tx.Begin(made.ID, made.Name) })
	update(t, s, func(tx *Tx) error { return tx.put("pending/"+resized.ID.String(), PendingResize) })
	var file bytes.Buffer
	if err := s.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	dir, o := t.TempDir(), Options{NoSync: true, Log: quiet(t)}
	if _, err := Restore(t.Context(), dir, o, bytes.NewReader(file.Bytes()), false); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, o)
	defer s.Close() // etcd ends the process where it finds its files gone
	update(t, s, func(tx *Tx) error {
		all, err := tx.Pending()
		if len(all) != 1 || all[resized.ID] != PendingResize {
			t.Errorf("pending = %v", all)
		}
		return err
	})
}

// A file that is cut short or changed anywhere is refused before anything is
// touched.
func TestDamagedBackupIsRefused(t *testing.T) {
	s := fresh(t)
	filled(t, s)
	var file bytes.Buffer
	if err := s.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) error {
		_, err := ReadBackup(bytes.NewReader(b), func(string, []byte) error { return nil })
		return err
	}
	whole := file.Bytes()
	if err := read(whole); err != nil {
		t.Fatal(err)
	}
	for i := range len(whole) - 1 { // the last byte is a line break
		if err := read(whole[:i]); !errors.Is(err, san.ErrInvalid) {
			t.Fatalf("the first %d of %d bytes: %v", i, len(whole), err)
		}
		b := bytes.Clone(whole)
		b[i] ^= 1
		if err := read(b); err == nil {
			t.Fatalf("byte %d of %d changed to %q and read", i, len(whole), b[i])
		}
	}
	if err := read(append(bytes.Clone(whole), "x\n"...)); !errors.Is(err, san.ErrInvalid) {
		t.Errorf("more behind the end: %v", err)
	}
	newer := strings.Replace(string(whole), `"sango_backup":1`, `"sango_backup":2`, 1)
	if err := read([]byte(newer)); !errors.Is(err, san.ErrRefused) {
		t.Errorf("a newer format: %v", err)
	}
}

// A restore that was cut short leaves a store that says so, until it is
// repeated.
func TestHalfRestoredStoreIsRefused(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	filled(t, s)
	var file bytes.Buffer
	if err := s.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	half := open(t, dir, Options{NoSync: true})
	if _, err := half.clear(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	half.Close()
	o := Options{NoSync: true, Log: quiet(t)}
	if s, err := Open(t.Context(), dir, o); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "half restored") {
		t.Errorf("Open = %v", err)
		if err == nil {
			s.Close()
		}
	}
	if _, err := Restore(t.Context(), dir, o, bytes.NewReader(file.Bytes()), false); err != nil {
		t.Fatal(err)
	}
	open(t, dir, o).Close()
}
