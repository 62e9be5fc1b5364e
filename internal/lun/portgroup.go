package lun

import (
	"slices"

	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// AccessState is the asymmetric access state of a target port group.
type AccessState = alua.State

// The asymmetric access states.
const (
	ActiveOptimized    = alua.Optimized
	ActiveNonOptimized = alua.NonOptimized
	Standby            = alua.Standby
	Unavailable        = alua.Unavailable
	Offline            = alua.Offline
	Transitioning      = alua.Transitioning
)

// PortGroup is a target port group: one gateway and its portals (SPC-4
// §5.15.2).
type PortGroup struct {
	ID        uint16
	State     AccessState
	Preferred bool
	Asked     bool      // a host had it be in its state (SET TARGET PORT GROUPS)
	Ports     []san.TPG // relative target port ids
}

// inGroup returns the group that holds port.
func inGroup(groups []PortGroup, port san.TPG) (PortGroup, bool) {
	for _, g := range groups {
		for _, p := range g.Ports {
			if p == port {
				return g, true
			}
		}
	}
	return PortGroup{}, false
}

// SetPortGroups replaces the target port groups through which the unit is seen,
// with their states: those of all gateways. The nexuses of this gateway follow;
// they are told by AccessChanged alone.
func (u *Unit) SetPortGroups(g []PortGroup) {
	own := make([]PortGroup, len(g))
	for i := range g {
		own[i] = g[i]
		own[i].Ports = slices.Clone(g[i].Ports)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.groups = own
	for _, i := range u.peers {
		if i.remote == nil {
			i.follow(own)
		}
	}
}

// AccessChanged raises unit attention 2A/06 for the nexuses of this gateway, but
// for those for which asked holds: who asked for a change by SET TARGET PORT
// GROUPS is not told of it (SPC-4 §5.15.2.6).
func (u *Unit) AccessChanged(asked func(san.NexusID) bool) {
	u.notice(scsi.ASCAccessStateChanged, func(i *itl) bool { return asked == nil || !asked(i.nexus.id) })
}

// portGroups returns the target port groups as i sees them.
func (i *itl) portGroups() []PortGroup {
	u := i.unit
	u.mu.Lock()
	g := u.groups
	u.mu.Unlock()
	if len(g) > 0 {
		return g // replaced, never changed
	}
	return i.nexus.target.ports()
}

// follow sets the state of the port that i goes through. Where groups are set
// and hold no such port it is one that was withdrawn: unavailable. Call with the
// lock of the unit.
func (i *itl) follow(groups []PortGroup) {
	g := PortGroup{ID: 1}
	if len(groups) > 0 {
		var ok bool
		if g, ok = inGroup(groups, i.nexus.id.Target.TPG); !ok {
			g = PortGroup{State: Unavailable}
		}
	}
	i.group.Store(uint32(g.ID))
	i.access.Store(uint32(g.State))
}

// state returns the asymmetric access state of the port that i goes through.
func (i *itl) state() AccessState { return AccessState(i.access.Load()) }

// tells reports whether REQUEST SENSE has something to tell that is known on
// the gateway of the nexus.
func (i *itl) tells() bool { return i.attn.count.Load() > 0 || i.state() > ActiveNonOptimized }

// blockedBy returns how a command with these flags ends at a port in state s,
// nil if it goes on (SPC-4 §5.15.2.4).
func blockedBy(s AccessState, f flags) *scsi.CheckCondition {
	switch s {
	case ActiveOptimized, ActiveNonOptimized:
		return nil
	case Standby:
		if f&(anyState|standby) != 0 {
			return nil
		}
		return scsi.Check(scsi.NotReady, scsi.ASCPortStandby)
	case Transitioning:
		if f&anyState != 0 {
			return nil
		}
		return scsi.Check(scsi.NotReady, scsi.ASCAccessTransition)
	}
	if f&anyState != 0 {
		return nil
	}
	return scsi.Check(scsi.NotReady, scsi.ASCPortUnavailable)
}
