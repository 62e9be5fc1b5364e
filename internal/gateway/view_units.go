package gateway

import (
	"errors"
	"maps"

	"sango/internal/block"
	"sango/internal/lun"
	"sango/internal/meta"
	"sango/internal/san"
)

// unit is a mapped volume.
type unit struct {
	unit   *lun.Unit
	dev    volumeDevice
	groups []lun.PortGroup   // as it was told; in a cluster guarded by member.mu
	gone   []<-chan struct{} // tasks of LUNs that are gone end; guarded by view.still
}

// volumeDevice is the device of a mapped volume.
type volumeDevice interface {
	block.Device
	// grow tells it how large the volume is now.
	grow(size int64)
	// problem returns why the volume does not open, as far as is known.
	problem() error
}

// resized tells a mapped volume's unit that it has another size.
func (v *view) resized(id san.UUID) {
	v.mu.RLock()
	u, vol := v.units[id], v.volumes[id]
	v.mu.RUnlock()
	if u == nil || vol == nil {
		return
	}
	u.dev.grow(vol.Size)
	u.unit.Resized()
}

// setMap gives a target the LUN map of its record, making units as needed. What
// has to wait for something is seen later, and e waits for that if it is of the
// volumes that it maps.
func (v *view) setMap(e *effect, name string, concerns func(san.UUID) bool) {
	v.mu.RLock()
	s := v.targets[name]
	var luns map[san.LUN]san.Mapping
	if s != nil {
		luns = maps.Clone(s.luns)
	}
	v.mu.RUnlock()
	if s == nil || v.ends[name].holds(v, e, name) {
		return
	}
	entries := make(map[san.LUN]lun.MapEntry, len(luns))
	for l, m := range luns {
		if d := v.closes[m.Volume]; d != nil {
			if concerns(m.Volume) { // else who mapped it waits
				d.holds(v, e, name)
			}
			continue
		}
		u, err := v.unit(m.Volume)
		if err != nil {
			v.n.cfg.Log.Error("LUN does not serve", "target", name, "lun", l, "error", err)
			continue
		}
		entries[l] = lun.MapEntry{Unit: u, Hosts: m.Hosts}
	}
	v.leave(e, s.target.ChangeMap(entries))
}

// unit returns the unit of a volume, and makes it where there is none.
func (v *view) unit(id san.UUID) (*lun.Unit, error) {
	v.mu.RLock()
	u, vol := v.units[id], v.volumes[id]
	v.mu.RUnlock()
	if u != nil {
		return u.unit, nil
	}
	if vol == nil {
		return nil, san.Errorf(san.ErrNotFound, "the volume %s has no record", id)
	}
	made := &unit{}
	o := lun.UnitOptions{Logger: v.n.cfg.Log, Background: v.n.cfg.Limits.Background, Boot: v.n.boots.of(vol)}
	var state lun.UnitStore
	if m := v.n.member; m != nil {
		s := m.pin(id)
		defer m.unpin(s)
		s.dev.describe(v.n.disks.info(vol))
		made.dev, state = s.dev, m.runtime.Unit(id)
		o.Shared, o.Right, o.Failed = true, m.runtime.Right, s.failed
	} else {
		made.dev, state = v.n.disks.device(vol), v.state(id)
	}
	var err error
	if made.unit, err = lun.NewUnit(*vol, made.dev, state, o); err != nil {
		return nil, errors.Join(err, made.dev.Close())
	}
	v.mu.Lock()
	v.units[id] = made
	v.mu.Unlock()
	if m := v.n.member; m != nil {
		m.attach(made)
	}
	return made.unit, nil
}

// state returns what the unit of a volume keeps.
func (v *view) state(id san.UUID) *meta.UnitState {
	if v.early != nil {
		return v.early.Unit(id)
	}
	return v.n.meta.Unit(id)
}

// mapped returns the unit of a volume, nil where no LUN maps it.
func (v *view) mapped(id san.UUID) *lun.Unit {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if u := v.units[id]; u != nil {
		return u.unit
	}
	return nil
}

// problem returns why a mapped volume does not serve, nil if it does.
func (v *view) problem(id san.UUID) error {
	v.mu.RLock()
	u := v.units[id]
	v.mu.RUnlock()
	if u == nil {
		return nil
	}
	return u.dev.problem()
}
