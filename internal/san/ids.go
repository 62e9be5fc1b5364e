// Package san holds the plain words of the domain: volumes, targets, hosts,
// gateways, and the ids that name them. It imports nothing of ours.
package san

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// UUID is a 128-bit identifier (RFC 9562), always random (version 4) here.
type UUID [16]byte

// NewUUID returns a random version 4 UUID.
func NewUUID() UUID {
	var u UUID
	rand.Read(u[:]) // never fails: crypto/rand aborts the process instead
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// ParseUUID reads the canonical 8-4-4-4-12 form.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	digits := strings.ReplaceAll(s, "-", "")
	if len(s) != 36 || len(digits) != 32 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, fmt.Errorf("uuid %q: want the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	if _, err := hex.Decode(u[:], []byte(digits)); err != nil {
		return UUID{}, fmt.Errorf("uuid %q: %w", s, err)
	}
	return u, nil
}

// String returns the canonical 8-4-4-4-12 form.
func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// IsZero reports whether u names nothing.
func (u UUID) IsZero() bool { return u == UUID{} }

// MarshalText implements encoding.TextMarshaler.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *UUID) UnmarshalText(b []byte) (err error) {
	*u, err = ParseUUID(string(b))
	return err
}

// Epoch grows by one with each change of a volume's owner (DESIGN R2). A
// write carries the epoch under which it was admitted.
type Epoch uint64

// LUN is a logical unit number in single-level form, 0 to 16383 (SAM-5 §4.7).
type LUN uint16

// MaxLUN is the highest LUN that peripheral (0–255) and flat space (256–16383)
// addressing can name.
const MaxLUN LUN = 16383

// ErrLUN is returned for an 8-byte LUN field of a form we do not serve.
var ErrLUN = errors.New("LUN is not in single-level peripheral or flat space form")

// ParseLUN decodes the 8-byte LUN field of a PDU or parameter list
// (SAM-5 §4.7.7). Only single-level peripheral (bus 0) and flat space
// addressing name a unit here; anything else is ErrLUN.
func ParseLUN(f [8]byte) (LUN, error) {
	for _, b := range f[2:] {
		if b != 0 {
			return 0, ErrLUN
		}
	}
	switch f[0] >> 6 {
	case 0: // peripheral device addressing, bus identifier must be 0
		if f[0] != 0 {
			return 0, ErrLUN
		}
		return LUN(f[1]), nil
	case 1: // flat space addressing
		return LUN(f[0]&0x3f)<<8 | LUN(f[1]), nil
	}
	return 0, ErrLUN
}

// Field encodes l as REPORT LUNS does: peripheral form below 256, flat space
// above.
func (l LUN) Field() [8]byte {
	if l < 256 {
		return [8]byte{0, byte(l)}
	}
	return [8]byte{0x40 | byte(l>>8), byte(l)}
}

// ISID is the initiator session id (RFC 7143 §11.12.5).
type ISID [6]byte

// TPG is a target portal group tag. Each portal of the cluster has one of its
// own, which is also its relative target port id; it is never reused.
type TPG uint16

// InitiatorPort names an iSCSI initiator port: IQN + ISID (RFC 7143 §2.2.11).
type InitiatorPort struct {
	Name string
	ISID ISID
}

// String returns the form name,i,0xISID of RFC 7143 §2.2.11.
func (p InitiatorPort) String() string { return fmt.Sprintf("%s,i,0x%x", p.Name, p.ISID[:]) }

// TargetPort names an iSCSI target port: IQN + portal group tag.
type TargetPort struct {
	Name string
	TPG  TPG
}

// String returns the form name,t,0xTPGT of RFC 7143 §2.2.11.
func (p TargetPort) String() string { return fmt.Sprintf("%s,t,0x%04x", p.Name, uint16(p.TPG)) }

// NexusID is an I_T nexus: initiator port × target port.
type NexusID struct {
	Initiator InitiatorPort
	Target    TargetPort
}
