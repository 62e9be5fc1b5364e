package pr

import (
	"encoding/binary"
	"fmt"

	"sango/internal/scsi"
)

const (
	inHeaderLen     = 8
	reservationLen  = 16
	capabilitiesLen = 8
	fullStatusLen   = 24 // without the TransportID
)

func appendHeader(b []byte, generation uint32, length int) []byte {
	b = binary.BigEndian.AppendUint32(b, generation)
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

// AppendKeys appends the parameter data of READ KEYS (SPC-4 §6.15.2).
func AppendKeys(b []byte, generation uint32, keys []Key) []byte {
	b = appendHeader(b, generation, 8*len(keys))
	for _, k := range keys {
		b = binary.BigEndian.AppendUint64(b, uint64(k))
	}
	return b
}

// ParseKeys reads the parameter data of READ KEYS; keys that the allocation
// length cut off are left out.
func ParseKeys(d []byte) (generation uint32, keys []Key, err error) {
	generation, d, err = parseHeader(d)
	for ; len(d) >= 8; d = d[8:] {
		keys = append(keys, Key(binary.BigEndian.Uint64(d)))
	}
	return generation, keys, err
}

func parseHeader(d []byte) (uint32, []byte, error) {
	if len(d) < inHeaderLen {
		return 0, nil, fmt.Errorf("PERSISTENT RESERVE IN data: %w: %d bytes, want at least %d", scsi.ErrShort, len(d), inHeaderLen)
	}
	n := min(int64(binary.BigEndian.Uint32(d[4:])), int64(len(d)-inHeaderLen))
	return binary.BigEndian.Uint32(d), d[inHeaderLen : inHeaderLen+n], nil
}

// Reservation is what READ RESERVATION tells of a persistent reservation. Key
// is 0 for the all registrants types.
type Reservation struct {
	Key  Key
	Type Type
}

// AppendReservation appends the parameter data of READ RESERVATION; r is nil
// when there is none (SPC-4 §6.15.3).
func AppendReservation(b []byte, generation uint32, r *Reservation) []byte {
	if r == nil {
		return appendHeader(b, generation, 0)
	}
	b = appendHeader(b, generation, reservationLen)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Key))
	return append(b, 0, 0, 0, 0, 0, ScopeLU<<4|byte(r.Type), 0, 0)
}

// ParseReservation reads the parameter data of READ RESERVATION.
func ParseReservation(d []byte) (generation uint32, r *Reservation, err error) {
	generation, d, err = parseHeader(d)
	if err != nil || len(d) == 0 {
		return generation, nil, err
	}
	if len(d) < reservationLen {
		return 0, nil, fmt.Errorf("READ RESERVATION data: %w: %d bytes, want %d", scsi.ErrShort, len(d), reservationLen)
	}
	return generation, &Reservation{Key(binary.BigEndian.Uint64(d)), Type(d[13] & 0x0f)}, nil
}

// Capabilities is the parameter data of REPORT CAPABILITIES (SPC-4 §6.15.4).
type Capabilities struct {
	CRH    bool   // RESERVE and RELEASE are compatible with persistent reservations as SPC-4 §5.13.3 says
	SIP    bool   // SIP_C: SPEC_I_PT
	ATP    bool   // ATP_C: ALL_TG_PT
	PTPL   bool   // PTPL_C: persist through power loss is possible
	Active bool   // PTPL_A: and is active
	Allow  uint8  // ALLOW COMMANDS, table 202
	Types  []Type // what is valid; none: not told
}

// typeBits are the bits of the PERSISTENT RESERVATION TYPE MASK.
var typeBits = map[Type]uint16{
	WriteExclusiveAllRegistrants: 0x8000, ExclusiveAccessRegistrantsOnly: 0x4000, WriteExclusiveRegistrantsOnly: 0x2000,
	ExclusiveAccess: 0x0800, WriteExclusive: 0x0200, ExclusiveAccessAllRegistrants: 0x0001,
}

// Append appends the data, 8 bytes.
func (c *Capabilities) Append(b []byte) []byte {
	var d [capabilitiesLen]byte
	d[1] = capabilitiesLen
	flags := []struct {
		set  bool
		at   int
		mask byte
	}{{c.CRH, 2, 0x10}, {c.SIP, 2, 0x08}, {c.ATP, 2, 0x04}, {c.PTPL, 2, 0x01}, {len(c.Types) > 0, 3, 0x80}, {c.Active, 3, 0x01}}
	for _, f := range flags {
		if f.set {
			d[f.at] |= f.mask
		}
	}
	d[3] |= c.Allow & 7 << 4
	var mask uint16
	for _, t := range c.Types {
		mask |= typeBits[t]
	}
	binary.BigEndian.PutUint16(d[4:], mask)
	return append(b, d[:]...)
}

// FullStatus is a full status descriptor (SPC-4 §6.15.5).
type FullStatus struct {
	Key      Key
	AllPorts bool // ALL_TG_PT: for every target port, and RelativePort means nothing
	Holder   bool // R_HOLDER
	Type     Type // of the reservation held; 0 unless Holder
	// RelativePort is the relative target port identifier of the nexus.
	RelativePort uint16
	Port         TransportID
}

// AppendFullStatus appends the parameter data of READ FULL STATUS.
func AppendFullStatus(b []byte, generation uint32, list []FullStatus) []byte {
	start := len(b)
	b = appendHeader(b, generation, 0)
	for i := range list {
		s := &list[i]
		b = binary.BigEndian.AppendUint64(b, uint64(s.Key))
		flags, kind := byte(0), byte(0)
		if s.AllPorts {
			flags |= 0x02
		}
		if s.Holder {
			flags |= 0x01
			kind = ScopeLU<<4 | byte(s.Type)
		}
		b = append(b, 0, 0, 0, 0, flags, kind, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, s.RelativePort)
		at := len(b)
		b = append(b, 0, 0, 0, 0)
		b = s.Port.Append(b)
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	}
	binary.BigEndian.PutUint32(b[start+4:], uint32(len(b)-start-inHeaderLen))
	return b
}

// ParseFullStatus reads the parameter data of READ FULL STATUS; a last
// descriptor that the allocation length cut off is left out.
func ParseFullStatus(d []byte) (generation uint32, list []FullStatus, err error) {
	generation, d, err = parseHeader(d)
	for len(d) >= fullStatusLen {
		n := int64(binary.BigEndian.Uint32(d[20:]))
		if n > int64(len(d)-fullStatusLen) {
			break
		}
		s := FullStatus{
			Key: Key(binary.BigEndian.Uint64(d)), AllPorts: d[12]&0x02 != 0, Holder: d[12]&0x01 != 0,
			RelativePort: binary.BigEndian.Uint16(d[18:]),
		}
		if s.Holder {
			s.Type = Type(d[13] & 0x0f)
		}
		if s.Port, _, err = ParseTransportID(d[fullStatusLen : fullStatusLen+n]); err != nil {
			return 0, nil, err
		}
		list, d = append(list, s), d[fullStatusLen+n:]
	}
	return generation, list, err
}
