package meta

import (
	"errors"
	"testing"

	"sango/internal/san"
)

// A creation that was given up does not come true later, when its bytes may be
// gone; one that has come true can't be given up.
func TestAbandonedCreationFails(t *testing.T) {
	s := fresh(t)
	v := &san.Volume{ID: san.NewUUID(), Name: "a", Driver: san.DriverLayered, Size: 1 << 30, BlockSize: 512, PhysicalBlock: 4096}
	update(t, s, func(tx *Tx) error { return tx.Begin(v.ID, v.Name) })
	abandon := func() (created bool) {
		update(t, s, func(tx *Tx) (err error) {
			created, err = tx.Abandon(v.ID)
			return err
		})
		return created
	}
	first := true
	err := s.Update(t.Context(), func(tx *Tx) error {
		err := tx.CreateVolume(v)
		if first { // it is given up while the commit is on its way
			first = false
			if abandon() {
				t.Error("created before its commit")
			}
		}
		return err
	})
	if !errors.Is(err, san.ErrRefused) {
		t.Errorf("commit after the creation was given up: %v", err)
	}
	update(t, s, func(tx *Tx) error { return tx.Begin(v.ID, v.Name) })
	update(t, s, func(tx *Tx) error { return tx.CreateVolume(v) })
	if !abandon() {
		t.Error("a volume that is there was given up")
	}
}
