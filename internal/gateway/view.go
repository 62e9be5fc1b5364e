package gateway

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"sango/internal/lun"
	"sango/internal/meta"
	"sango/internal/san"
)

// view is the node's picture of the metadata, and what was made of it: units
// and targets. One goroutine (follow) changes it.
type view struct {
	n *Node

	// still is held while changes are put into effect.
	still sync.Mutex
	early *meta.Units // what units kept before the start; nil once that is over

	mu       sync.RWMutex // guards what follows
	revision int64        // everything up to it is in effect
	moved    chan struct{}
	failed   error // why it follows no more
	volumes  map[san.UUID]*san.Volume
	hosts    map[string]*san.Host
	byIQN    map[string]*san.Host
	targets  map[string]*served
	units    map[san.UUID]*unit
	groups   map[string]*meta.Gateway
}

// served is a target that the node serves.
type served struct {
	rec    *san.Target // without LUNs
	luns   map[san.LUN]san.Mapping
	target *lun.Target
}

// unit is a mapped volume.
type unit struct {
	unit *lun.Unit
	dev  *lazyDevice
}

// dirty collects what a batch of changes touched.
type dirty struct {
	targets  map[string]bool
	resized  map[san.UUID]bool
	gone     []*served
	access   bool // who may log in may have changed
	gateways bool
}

func newView(n *Node) *view {
	return &view{
		n: n, moved: make(chan struct{}), volumes: map[san.UUID]*san.Volume{}, hosts: map[string]*san.Host{}, byIQN: map[string]*san.Host{},
		targets: map[string]*served{}, units: map[san.UUID]*unit{}, groups: map[string]*meta.Gateway{},
	}
}

func newDirty() *dirty { return &dirty{targets: map[string]bool{}, resized: map[san.UUID]bool{}} }

// replace makes the view what snap says.
func (v *view) replace(snap *meta.Snapshot) {
	v.still.Lock()
	defer v.still.Unlock()
	d := newDirty()
	v.mu.Lock()
	for id, vol := range snap.Volumes {
		if old := v.volumes[id]; old != nil && old.Size != vol.Size {
			d.resized[id] = true
		}
	}
	v.volumes = snap.Volumes
	v.hosts, v.byIQN = snap.Hosts, map[string]*san.Host{}
	for _, h := range snap.Hosts {
		v.byIQN[h.IQN] = h
	}
	v.groups = snap.Gateways
	for name, s := range v.targets {
		if snap.Targets[name] == nil {
			d.gone = append(d.gone, s)
			delete(v.targets, name)
		}
	}
	for name, t := range snap.Targets {
		v.serve(t).luns = t.LUNs
		d.targets[name] = true
	}
	d.access, d.gateways = true, true
	v.mu.Unlock()
	v.n.checkClaim(snap.Claim)
	v.effect(d, snap.Revision)
}

// serve returns the served target for a record, which it takes over. v.mu is
// held.
func (v *view) serve(t *san.Target) *served {
	s := v.targets[t.Name]
	if s == nil {
		s = &served{luns: map[san.LUN]san.Mapping{}, target: lun.NewTarget(t.Name, lun.TargetOptions{Logger: v.n.cfg.Log})}
		v.targets[t.Name] = s
	}
	rec := *t
	rec.LUNs = nil
	s.rec = &rec
	return s
}

// batch is the changes of some transactions.
type batch struct {
	revision int64
	changes  []meta.Change
}

// apply puts a batch of changes into effect.
func (v *view) apply(b batch) {
	v.still.Lock()
	defer v.still.Unlock()
	d := newDirty()
	v.mu.Lock()
	for _, c := range b.changes {
		v.note(c, d)
	}
	v.mu.Unlock()
	v.effect(d, b.revision)
}

// note takes one change into the maps. v.mu is held.
func (v *view) note(c meta.Change, d *dirty) {
	switch {
	case !c.VolumeID.IsZero():
		if c.Volume == nil {
			delete(v.volumes, c.VolumeID)
			return
		}
		if old := v.volumes[c.VolumeID]; old != nil && old.Size != c.Volume.Size {
			d.resized[c.VolumeID] = true
		}
		v.volumes[c.VolumeID] = c.Volume
	case c.LUN != nil:
		s := v.targets[c.Target]
		if s == nil {
			return
		}
		d.targets[c.Target] = true
		if c.Map == nil {
			delete(s.luns, *c.LUN)
		} else {
			s.luns[*c.LUN] = *c.Map
		}
	case c.Target != "":
		d.access = true
		if c.Record != nil {
			v.serve(c.Record)
			d.targets[c.Target] = true
		} else if s := v.targets[c.Target]; s != nil {
			d.gone = append(d.gone, s)
			delete(v.targets, c.Target)
		}
	case c.Host != "":
		d.access = true
		if old := v.hosts[c.Host]; old != nil {
			delete(v.byIQN, old.IQN)
			delete(v.hosts, c.Host)
		}
		if c.HostInfo != nil {
			v.hosts[c.Host], v.byIQN[c.HostInfo.IQN] = c.HostInfo, c.HostInfo
		}
	case c.Gateway != "":
		d.gateways = true
		if c.GatewayInfo == nil {
			delete(v.groups, c.Gateway)
		} else {
			v.groups[c.Gateway] = c.GatewayInfo
		}
	case c.Claimed:
		v.n.checkClaim(c.Claim)
	}
}

// effect makes units and targets follow the maps, and then tells those who
// wait for the revision.
func (v *view) effect(d *dirty, revision int64) {
	for id := range d.resized {
		v.resized(id)
	}
	for _, s := range d.gone {
		s.target.SetMap(nil)
		v.n.dropTarget(s.rec.Name)
	}
	for name := range d.targets {
		v.setMap(name)
	}
	if d.gateways || len(d.targets) > 0 {
		v.setGroups()
	}
	v.closeUnused()
	if d.access {
		v.n.enforce()
	}
	v.mu.Lock()
	v.revision = revision
	close(v.moved)
	v.moved = make(chan struct{})
	v.mu.Unlock()
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

// setMap gives a target the LUN map of its record, making units as needed.
func (v *view) setMap(name string) {
	v.mu.RLock()
	s := v.targets[name]
	var luns map[san.LUN]san.Mapping
	if s != nil {
		luns = maps.Clone(s.luns)
	}
	v.mu.RUnlock()
	if s == nil {
		return
	}
	entries := make(map[san.LUN]lun.MapEntry, len(luns))
	for l, m := range luns {
		u, err := v.unit(m.Volume)
		if err != nil {
			v.n.cfg.Log.Error("LUN does not serve", "target", name, "lun", l, "error", err)
			continue
		}
		entries[l] = lun.MapEntry{Unit: u, Hosts: m.Hosts}
	}
	s.target.SetMap(entries)
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
	dev := v.n.disks.device(vol)
	made, err := lun.NewUnit(*vol, dev, v.state(id), lun.UnitOptions{
		Logger: v.n.cfg.Log, Background: v.n.cfg.Limits.Background, Boot: v.n.boots.of(vol),
	})
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	v.mu.Lock()
	v.units[id] = &unit{unit: made, dev: dev}
	v.mu.Unlock()
	return made, nil
}

// state returns what the unit of a volume keeps.
func (v *view) state(id san.UUID) *meta.UnitState {
	if v.early != nil {
		return v.early.Unit(id)
	}
	return v.n.meta.Unit(id)
}

// closeUnused closes the units that no LUN maps any more.
func (v *view) closeUnused() {
	v.mu.Lock()
	used := map[san.UUID]bool{}
	for _, s := range v.targets {
		for _, m := range s.luns {
			used[m.Volume] = true
		}
	}
	var idle []*unit
	for id, u := range v.units {
		if !used[id] {
			idle = append(idle, u)
			delete(v.units, id)
		}
	}
	v.mu.Unlock()
	for _, u := range idle {
		if err := u.unit.Close(); err != nil {
			v.n.cfg.Log.Error("volume did not close cleanly", "volume", u.unit.Volume().Name, "error", err)
		}
	}
}

// setGroups tells every target which gateways and portals there are. Each
// gateway is one port group; without a cluster it serves all volumes itself.
func (v *view) setGroups() {
	v.mu.RLock()
	var groups []lun.PortGroup
	for _, name := range slices.Sorted(maps.Keys(v.groups)) {
		g := v.groups[name]
		pg := lun.PortGroup{ID: g.Group, State: lun.Offline}
		if g.Name == v.n.cfg.Name {
			pg.State, pg.Preferred = lun.ActiveOptimized, true
		}
		for _, p := range g.Portals {
			pg.Ports = append(pg.Ports, p.TPG)
		}
		groups = append(groups, pg)
	}
	targets := slices.Collect(maps.Values(v.targets))
	v.mu.RUnlock()
	for _, s := range targets {
		s.target.SetPortGroups(groups)
	}
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

// wait returns when everything up to revision is in effect.
func (v *view) wait(ctx context.Context, revision int64) error {
	for {
		v.mu.RLock()
		now, moved, failed := v.revision, v.moved, v.failed
		v.mu.RUnlock()
		switch {
		case now >= revision:
			return nil
		case failed != nil:
			return failed
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return san.Errorf(san.ErrUnavailable, "the change is made, but not in effect yet: %v", ctx.Err())
		}
	}
}

// fail tells those who wait that nothing more will come.
func (v *view) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failed = err
	close(v.moved)
	v.moved = make(chan struct{})
}

// close takes all LUNs away and closes all units.
func (v *view) close() {
	v.still.Lock()
	defer v.still.Unlock()
	v.mu.Lock()
	targets := v.targets
	v.targets = map[string]*served{}
	v.mu.Unlock()
	for _, s := range targets {
		s.target.SetMap(nil)
	}
	v.closeUnused()
}

// normal brings an initiator's name into the form in which names are kept
// (RFC 3722 maps upper to lower case).
func normal(initiator string) string { return strings.ToLower(initiator) }
