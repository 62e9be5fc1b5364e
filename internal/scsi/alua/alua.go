// Package alua holds the codecs of asymmetric logical unit access (SPC-4
// §5.15): REPORT TARGET PORT GROUPS data and the SET TARGET PORT GROUPS list.
package alua

import (
	"encoding/binary"
	"fmt"

	"sango/internal/scsi"
)

// State is an asymmetric access state (SPC-4 table 247).
type State uint8

// The states.
const (
	Optimized     State = 0x0
	NonOptimized  State = 0x1
	Standby       State = 0x2
	Unavailable   State = 0x3
	LBADependent  State = 0x4
	Offline       State = 0xe
	Transitioning State = 0xf
)

// String returns the name of SPC-4.
func (s State) String() string {
	switch s {
	case Optimized:
		return "active/optimized"
	case NonOptimized:
		return "active/non-optimized"
	case Standby:
		return "standby"
	case Unavailable:
		return "unavailable"
	case LBADependent:
		return "logical block dependent"
	case Offline:
		return "offline"
	case Transitioning:
		return "transitioning"
	}
	return fmt.Sprintf("state %xh", uint8(s))
}

// Supported says which states a group may report (byte 1 of its descriptor).
type Supported uint8

// The bits of Supported.
const (
	SupportsOptimized     Supported = 0x01 // AO_SUP
	SupportsNonOptimized  Supported = 0x02 // AN_SUP
	SupportsStandby       Supported = 0x04 // S_SUP
	SupportsUnavailable   Supported = 0x08 // U_SUP
	SupportsLBADependent  Supported = 0x10 // LBD_SUP
	SupportsOffline       Supported = 0x40 // O_SUP
	SupportsTransitioning Supported = 0x80 // T_SUP
)

// Has reports whether s holds the bit of st.
func (s Supported) Has(st State) bool {
	switch st {
	case Optimized, NonOptimized, Standby, Unavailable, LBADependent:
		return s&(1<<st) != 0
	case Offline:
		return s&SupportsOffline != 0
	case Transitioning:
		return s&SupportsTransitioning != 0
	}
	return false
}

// Status codes: why a group is in its state (SPC-4 table 248).
const (
	StatusNone     uint8 = 0
	StatusExplicit uint8 = 1 // SET TARGET PORT GROUPS
	StatusImplicit uint8 = 2 // the device server
)

// Group is a target port group descriptor (SPC-4 §6.37).
type Group struct {
	ID        uint16
	State     State
	Preferred bool
	Supported Supported
	Status    uint8    // Status*
	Ports     []uint16 // relative target port identifiers; at most 255
}

// Lengths, in bytes.
const (
	groupLen = 8
	portLen  = 4
)

// Format is the RETURN DATA FORMAT of REPORT TARGET PORT GROUPS.
type Format uint8

// The formats.
const (
	LengthOnly Format = 0
	Extended   Format = 1 // with an IMPLICIT TRANSITION TIME
)

// Append appends REPORT TARGET PORT GROUPS data. transition is the implicit
// transition time of the extended header, in seconds.
func Append(b []byte, f Format, transition uint8, groups []Group) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	if f == Extended {
		b = append(b, byte(Extended)<<4, transition, 0, 0)
	}
	for i := range groups {
		g := &groups[i]
		ports := g.Ports[:min(len(g.Ports), 255)]
		first := byte(g.State & 0x0f)
		if g.Preferred {
			first |= 0x80
		}
		b = append(b, first, byte(g.Supported), byte(g.ID>>8), byte(g.ID), 0, g.Status, 0, byte(len(ports)))
		for _, p := range ports {
			b = append(b, 0, 0, byte(p>>8), byte(p))
		}
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// Parse reads REPORT TARGET PORT GROUPS data with either header. It fails when
// the data is cut off.
func Parse(d []byte) (groups []Group, transition uint8, err error) {
	if len(d) < 4 {
		return nil, 0, fmt.Errorf("target port groups: %w: %d bytes, want at least 4", scsi.ErrShort, len(d))
	}
	n := uint64(binary.BigEndian.Uint32(d))
	if n > uint64(len(d)-4) {
		return nil, 0, fmt.Errorf("target port groups: %w: %d bytes, want %d", scsi.ErrShort, len(d), n+4)
	}
	d = d[4 : 4+n]
	// The bits of RETURN DATA FORMAT are reserved in a group's first byte.
	if len(d) >= 4 && Format(d[0]>>4&7) == Extended {
		transition, d = d[1], d[4:]
	}
	for len(d) > 0 {
		if len(d) < groupLen || len(d) < groupLen+portLen*int(d[7]) {
			return nil, 0, fmt.Errorf("target port groups: %w: %d bytes left for a group", scsi.ErrShort, len(d))
		}
		g := Group{
			State: State(d[0] & 0x0f), Preferred: d[0]&0x80 != 0, Supported: Supported(d[1]),
			ID: binary.BigEndian.Uint16(d[2:]), Status: d[5],
		}
		ports := int(d[7])
		for d = d[groupLen:]; ports > 0; ports-- {
			g.Ports = append(g.Ports, binary.BigEndian.Uint16(d[2:]))
			d = d[portLen:]
		}
		groups = append(groups, g)
	}
	return groups, transition, nil
}
