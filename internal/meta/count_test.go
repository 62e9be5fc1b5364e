package meta

import (
	"fmt"
	"strings"
	"testing"

	"sango/internal/san"
)

const countIQN = "iqn.2026-11.com.example:many"

// A LUN is mapped and unmapped without a look at the values of the others.
func TestMapLooksAtItsOwnLUN(t *testing.T) {
	s := fresh(t)
	update(t, s, func(tx *Tx) error { return tx.CreateTarget(&san.Target{Name: countIQN}) })
	for n := range 3 {
		v := volume(t, s, fmt.Sprintf("v%d", n))
		update(t, s, func(tx *Tx) error {
			l, err := tx.Map(countIQN, AnyLUN, san.Mapping{Volume: v.ID})
			if err == nil && int(l) != n {
				t.Errorf("the lowest free LUN is %d, want %d", l, n)
			}
			return err
		})
	}
	narrow := func(tx *Tx) {
		t.Helper()
		for r := range tx.ranges {
			if strings.HasPrefix(r, prefix+"luns/") {
				t.Errorf("all of %s was read", r)
			}
		}
		if len(tx.reads) > 6 {
			t.Errorf("%d keys were read: %v", len(tx.reads), tx.reads)
		}
	}
	update(t, s, func(tx *Tx) error {
		defer narrow(tx)
		return tx.Unmap(countIQN, 1)
	})
	v := volume(t, s, "next")
	update(t, s, func(tx *Tx) error {
		defer narrow(tx)
		l, err := tx.Map(countIQN, AnyLUN, san.Mapping{Volume: v.ID})
		if err == nil && l != 1 {
			t.Errorf("mapped at LUN %d, want the gap at 1", l)
		}
		return err
	})
	update(t, s, func(tx *Tx) error {
		c, err := tx.Counts()
		if want := (Counts{Volumes: 4, Targets: 1, LUNs: 3}); c != want {
			t.Errorf("counted %+v, want %+v", c, want)
		}
		return err
	})
}
