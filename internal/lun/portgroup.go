package lun

import "sango/internal/san"

// AccessState is the asymmetric access state of a target port group. The
// values are those on the wire (SPC-4 table 306).
type AccessState uint8

// The asymmetric access states.
const (
	ActiveOptimized    AccessState = 0x0
	ActiveNonOptimized AccessState = 0x1
	Standby            AccessState = 0x2
	Unavailable        AccessState = 0x3
	Offline            AccessState = 0xe
	Transitioning      AccessState = 0xf
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
