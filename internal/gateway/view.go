package gateway

import (
	"maps"
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
	still  sync.Mutex
	early  *meta.Units         // what units kept before the start; nil once that is over
	closes map[san.UUID]*delay // volumes whose unit is being closed
	ends   map[string]*delay   // targets whose former sessions are ending
	later  sync.WaitGroup      // what is waited for

	mu       sync.RWMutex // guards what follows
	revision int64        // everything up to it is in effect
	access   int64        // the same, but for the end of tasks, and of volumes that are closed
	effects  []*effect    // those later than revision, in order
	changed  int64        // that of the last change that was heard of
	told     int64        // everything up to it has been heard of
	pending  int64        // that of the last change of gateways that was heard of
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

// dirty collects what a batch of changes touched.
type dirty struct {
	targets  map[string]bool
	mapped   map[san.UUID]bool // volumes that LUNs were to be made of
	whole    bool              // any may have been
	resized  map[san.UUID]bool
	gone     []*served
	access   bool // who may log in may have changed
	gateways bool
}

func newView(n *Node) *view {
	return &view{
		n: n, moved: make(chan struct{}), volumes: map[san.UUID]*san.Volume{}, hosts: map[string]*san.Host{}, byIQN: map[string]*san.Host{},
		targets: map[string]*served{}, units: map[san.UUID]*unit{}, groups: map[string]*meta.Gateway{},
		closes: map[san.UUID]*delay{}, ends: map[string]*delay{},
	}
}

func newDirty() *dirty {
	return &dirty{targets: map[string]bool{}, mapped: map[san.UUID]bool{}, resized: map[san.UUID]bool{}}
}

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
		v.serve(t, d).luns = t.LUNs
		d.targets[name] = true
	}
	d.access, d.gateways, d.whole = true, true, true
	v.mu.Unlock()
	v.n.checkClaim(snap.Claim)
	v.effect(d, snap.Revision)
}

// serve returns the served target for a record, which it takes over. Whether
// hosts may ask for moves is told at their login. v.mu is held.
func (v *view) serve(t *san.Target, d *dirty) *served {
	s := v.targets[t.Name]
	luns := map[san.LUN]san.Mapping{}
	if s != nil && s.rec.Explicit != t.Explicit {
		d.gone = append(d.gone, s)
		luns, s = s.luns, nil
	}
	if s == nil {
		o := lun.TargetOptions{Logger: v.n.cfg.Log}
		if m := v.n.member; m != nil {
			o.Fresh = m.runtime.Fresh
			if t.Explicit {
				o.SetGroups = m.setGroups
			}
		}
		s = &served{luns: luns, target: lun.NewTarget(t.Name, o)}
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
			d.mapped[c.Map.Volume] = true
		}
	case c.Target != "":
		d.access = true
		if c.Record != nil {
			v.serve(c.Record, d)
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
// wait for the revision. Nothing here waits for tasks: see delay.
func (v *view) effect(d *dirty, revision int64) {
	e := v.begin(revision)
	for id := range d.resized {
		v.resized(id)
	}
	for _, s := range d.gone {
		v.endTarget(e, s)
	}
	for name := range d.targets {
		v.setMap(e, name, func(id san.UUID) bool { return d.whole || d.mapped[id] })
	}
	if d.gateways || len(d.targets) > 0 {
		v.setGroups()
	}
	if m := v.n.member; m != nil && d.gateways {
		m.reread()
	}
	if d.access {
		v.after(e, v.n.enforce())
	}
	v.mu.Lock()
	v.access = revision
	v.wake()
	v.mu.Unlock()
	v.closeUnused(e)
	v.end(e)
}

// snapshot returns what the view was told last.
func (v *view) snapshot() *meta.Snapshot {
	v.mu.RLock()
	defer v.mu.RUnlock()
	snap := &meta.Snapshot{
		Revision: v.access, Volumes: maps.Clone(v.volumes), Hosts: maps.Clone(v.hosts), Gateways: maps.Clone(v.groups), Targets: map[string]*san.Target{},
	}
	for name, s := range v.targets {
		t := *s.rec
		t.LUNs = maps.Clone(s.luns)
		snap.Targets[name] = &t
	}
	return snap
}

// normal brings an initiator's name into the form in which names are kept
// (RFC 3722 maps upper to lower case).
func normal(initiator string) string { return strings.ToLower(initiator) }
