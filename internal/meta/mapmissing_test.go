package meta

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/san"
)

// Many volumes are mapped at once, each at the lowest LUN that is free then,
// and those that are mapped already stay where they are.
func TestMapMissingFillsTheGaps(t *testing.T) {
	s := fresh(t)
	var ids []san.UUID
	const target = "iqn.2026-11.com.example:disks"
	for _, name := range []string{"a", "b", "c", "d"} {
		ids = append(ids, volume(t, s, name).ID)
	}
	update(t, s, func(tx *Tx) error { return tx.CreateTarget(&san.Target{Name: target, Open: true}) })
	update(t, s, func(tx *Tx) error {
		_, err := tx.Map(target, 1, san.Mapping{Volume: ids[2]})
		return err
	})
	for range 2 { // the second time there is nothing to do
		update(t, s, func(tx *Tx) error { return tx.MapMissing(target, []san.UUID{ids[3], ids[2], ids[0], ids[0], ids[1]}) })
	}
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[san.LUN]san.UUID{}
	for l, m := range snap.Targets[target].LUNs {
		got[l] = m.Volume
	}
	if d := cmp.Diff(map[san.LUN]san.UUID{0: ids[3], 1: ids[2], 2: ids[0], 3: ids[1]}, got); d != "" {
		t.Error(d)
	}
	if err := s.Update(t.Context(), func(tx *Tx) error { return tx.MapMissing(target, []san.UUID{san.NewUUID()}) }); err == nil {
		t.Error("a volume that is not there was mapped")
	}
}
