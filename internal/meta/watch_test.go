package meta

import (
	"context"
	"errors"
	"testing"

	"sango/internal/san"
)

func watchTellsEveryChangeInOrder(t *testing.T, s, s2 *Store) {
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type event struct {
		rev     int64
		changes []Change
	}
	events, ended := make(chan event, 16), make(chan error, 1)
	go func() {
		ended <- s2.Watch(ctx, snap.Revision, func(rev int64, c []Change) error {
			events <- event{rev, c}
			return nil
		})
	}()
	const iqn = "iqn.2026-11.com.example:disks"
	v := volume(t, s, "disk1")
	update(t, s, func(tx *Tx) error { return tx.CreateTarget(&san.Target{Name: iqn, Open: true}) })
	update(t, s, func(tx *Tx) error { _, err := tx.Map(iqn, 3, san.Mapping{Volume: v.ID}); return err })
	update(t, s, func(tx *Tx) error { return tx.ResizeVolume(v.ID, 2<<30) })
	update(t, s, func(tx *Tx) error { return tx.Unmap(iqn, 3) })
	update(t, s, func(tx *Tx) error { return tx.DeleteVolume(v.ID) })

	last := snap.Revision
	next := func() Change {
		e := <-events
		if e.rev <= last {
			t.Errorf("revision %d after %d", e.rev, last)
		}
		last = e.rev
		for len(e.changes) == 0 { // an index, or the mark of a volume
			e = <-events
			last = e.rev
		}
		if len(e.changes) != 1 {
			t.Fatalf("%d changes in one transaction: %+v", len(e.changes), e.changes)
		}
		return e.changes[0]
	}
	if c := next(); c.VolumeID != v.ID || c.Volume == nil || c.Volume.Name != "disk1" {
		t.Errorf("create: %+v", c)
	}
	if c := next(); c.Target != iqn || c.Record == nil || !c.Record.Open || c.LUN != nil {
		t.Errorf("target: %+v", c)
	}
	if c := next(); c.Target != iqn || c.LUN == nil || *c.LUN != 3 || c.Map == nil || c.Map.Volume != v.ID {
		t.Errorf("map: %+v", c)
	}
	if c := next(); c.VolumeID != v.ID || c.Volume.Size != 2<<30 {
		t.Errorf("resize: %+v", c)
	}
	if c := next(); c.Target != iqn || c.LUN == nil || *c.LUN != 3 || c.Map != nil {
		t.Errorf("unmap: %+v", c)
	}
	if c := next(); c.VolumeID != v.ID || c.Volume != nil {
		t.Errorf("delete: %+v", c)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch = %v", err)
	}
}

func watchFromCompactedRevision(t *testing.T, s, s2 *Store) {
	volume(t, s, "a")
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	volume(t, s, "b")
	if _, err := s.kv.Compact(t.Context(), snap.Revision+1); err != nil {
		t.Fatal(err)
	}
	if err := s2.Watch(t.Context(), 1, func(int64, []Change) error { return nil }); !errors.Is(err, ErrBehind) {
		t.Errorf("Watch = %v, want ErrBehind", err)
	}
	// A snapshot is the way out.
	if snap, err = s2.Load(t.Context()); err != nil || len(snap.Volumes) != 2 {
		t.Fatalf("%d volumes, %v", len(snap.Volumes), err)
	}
	v := volume(t, s, "c")
	stop := errors.New("stop")
	seen := false
	if err := s2.Watch(t.Context(), snap.Revision, func(_ int64, changes []Change) error {
		for _, c := range changes {
			if seen = c.VolumeID == v.ID; seen {
				return stop
			}
		}
		return nil
	}); !errors.Is(err, stop) || !seen {
		t.Errorf("Watch after a new snapshot = %v", err)
	}
}
