package meta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"sango/internal/san"
)

// Many at once draw ids: none is handed out twice, none is left out.
func countersNeverRepeat(t *testing.T, s, s2 *Store) {
	const workers, each = 8, 20
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for range each {
				var id uint64
				if err := either(i, s, s2).Update(context.Background(), func(tx *Tx) (err error) {
					id, err = tx.next("test", 1<<16)
					return err
				}); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[id] {
					t.Errorf("id %d handed out twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id := uint64(1); id <= workers*each; id++ {
		if !seen[id] {
			t.Errorf("id %d was left out", id)
		}
	}
}

func TestCounterEnds(t *testing.T) {
	s := fresh(t)
	update(t, s, func(tx *Tx) error { return tx.put("counters/test", 3) })
	err := s.Update(context.Background(), func(tx *Tx) error {
		_, err := tx.next("test", 3)
		return err
	})
	if !errors.Is(err, san.ErrRefused) {
		t.Errorf("next past the end = %v", err)
	}
}

// Several make the same name at once: exactly one of them wins.
func namesAreUnique(t *testing.T, s, s2 *Store) {
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s := either(i, s, s2)
			v := &san.Volume{ID: san.NewUUID(), Name: "same", Driver: san.DriverMem, Size: 4096, BlockSize: 512, PhysicalBlock: 512}
			err := s.Update(context.Background(), func(tx *Tx) error { return tx.Begin(v.ID, v.Name) })
			if err == nil {
				err = s.Update(context.Background(), func(tx *Tx) error { return tx.CreateVolume(v) })
			}
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, san.ErrExists):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d volumes got the name", won.Load())
	}
	snap, err := s.Load(t.Context())
	if err != nil || len(snap.Volumes) != 1 {
		t.Errorf("%d volumes, %v", len(snap.Volumes), err)
	}
}

// One maps a volume while another deletes it: a LUN never points at nothing.
func mapAgainstDelete(t *testing.T, s, s2 *Store) {
	const iqn = "iqn.2026-11.com.example:disks"
	update(t, s, func(tx *Tx) error { return tx.CreateTarget(&san.Target{Name: iqn, Open: true}) })
	for i := range 30 {
		v := volume(t, s, fmt.Sprintf("v%d", i))
		var wg sync.WaitGroup
		var mapErr, delErr error
		wg.Go(func() {
			mapErr = s.Update(context.Background(), func(tx *Tx) error {
				_, err := tx.Map(iqn, AnyLUN, san.Mapping{Volume: v.ID})
				return err
			})
		})
		wg.Go(func() {
			delErr = s2.Update(context.Background(), func(tx *Tx) error { return tx.DeleteVolume(v.ID) })
		})
		wg.Wait()
		switch {
		case mapErr == nil && errors.Is(delErr, san.ErrRefused):
		case delErr == nil && errors.Is(mapErr, san.ErrNotFound):
		default:
			t.Fatalf("map: %v; delete: %v", mapErr, delErr)
		}
	}
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for lun, m := range snap.Targets[iqn].LUNs {
		if snap.Volumes[m.Volume] == nil {
			t.Errorf("LUN %d maps a volume that is gone", lun)
		}
	}
}

// Several map at the lowest free LUN at once: each gets one of its own.
func lunsAreUnique(t *testing.T, s, s2 *Store) {
	const iqn, n = "iqn.2026-11.com.example:disks", 12
	update(t, s, func(tx *Tx) error { return tx.CreateTarget(&san.Target{Name: iqn, Open: true}) })
	var wg sync.WaitGroup
	for i := range n {
		v := volume(t, s, fmt.Sprintf("v%d", i))
		wg.Go(func() {
			if err := either(i, s, s2).Update(context.Background(), func(tx *Tx) error {
				_, err := tx.Map(iqn, AnyLUN, san.Mapping{Volume: v.ID})
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for lun := range san.LUN(n) {
		if _, ok := snap.Targets[iqn].LUNs[lun]; !ok {
			t.Errorf("LUN %d is free", lun)
		}
	}
}

// A unit's state that somebody else changed is not overwritten.
func unitStateIsGuarded(t *testing.T, s, s2 *Store) {
	v := volume(t, s, "disk1")
	a, b := s.Unit(v.ID), s2.Unit(v.ID)
	if got, err := a.Load("reservations"); err != nil || got != nil {
		t.Fatalf("Load = %q, %v", got, err)
	}
	if err := b.Save("reservations", []byte("b")); err != nil {
		t.Fatal(err)
	}
	if err := a.Save("reservations", []byte("a")); !errors.Is(err, san.ErrRefused) {
		t.Fatalf("Save over an unseen value = %v", err)
	}
	if got, err := a.Load("reservations"); err != nil || string(got) != "b" {
		t.Fatalf("Load = %q, %v", got, err)
	}
	for _, value := range [][]byte{[]byte("a"), []byte("a2"), nil, nil, {}, []byte("a3")} {
		if err := a.Save("reservations", value); err != nil {
			t.Fatalf("Save(%q) = %v", value, err)
		}
		if got, err := s.Unit(v.ID).Load("reservations"); err != nil || string(got) != string(value) {
			t.Errorf("Load = %q, %v; want %q", got, err, value)
		}
	}
	update(t, s, func(tx *Tx) error { return tx.DeleteVolume(v.ID) })
	if err := a.Save("reservations", []byte("ghost")); !errors.Is(err, san.ErrRefused) {
		t.Errorf("Save for a deleted volume = %v", err)
	}
	if got, err := a.Load("reservations"); err != nil || got != nil {
		t.Errorf("a deleted volume still has state: %q, %v", got, err)
	}
}
