package lun

import (
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

// follow sets the state of the port that n goes to. Where groups are set and
// hold no such port it is one that was withdrawn: unavailable.
func (n *Nexus) follow(groups []PortGroup) {
	g := PortGroup{ID: 1}
	if len(groups) > 0 {
		var ok bool
		if g, ok = inGroup(groups, n.id.Target.TPG); !ok {
			g = PortGroup{State: Unavailable}
		}
	}
	n.group.Store(uint32(g.ID))
	n.access.Store(uint32(g.State))
}

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
