package scsi

import (
	"encoding/binary"
	"fmt"
)

// Association says what a designator names (SPC-4 table 530).
type Association uint8

// The associations.
const (
	OfUnit   Association = 0 // the logical unit
	OfPort   Association = 1 // the target port that received the request
	OfDevice Association = 2 // the SCSI target device
)

// DesignatorType is the kind of a designator (SPC-4 table 531).
type DesignatorType uint8

// The designator types in use.
const (
	DesignatorVendor       DesignatorType = 0x0
	DesignatorT10          DesignatorType = 0x1
	DesignatorEUI64        DesignatorType = 0x2
	DesignatorNAA          DesignatorType = 0x3
	DesignatorRelativePort DesignatorType = 0x4
	DesignatorPortGroup    DesignatorType = 0x5
	DesignatorUnitGroup    DesignatorType = 0x6
	DesignatorMD5          DesignatorType = 0x7
	DesignatorSCSIName     DesignatorType = 0x8
)

// Code sets of designators (SPC-4 table 22).
const (
	CodeBinary uint8 = 1
	CodeASCII  uint8 = 2
	CodeUTF8   uint8 = 3
)

// ProtocolISCSI is the PROTOCOL IDENTIFIER of iSCSI (SPC-4 table 435).
const ProtocolISCSI uint8 = 5

// Designator is a designation descriptor of VPD page 83h (SPC-4 §7.8.6.1).
type Designator struct {
	Association Association
	Type        DesignatorType
	CodeSet     uint8
	PIV         bool // Protocol is valid
	Protocol    uint8
	Value       []byte // at most 255 bytes
}

// T10Designator names a logical unit by the vendor's T10 identification, at
// most 8 characters, and an id unique for that vendor (SPC-4 §7.8.6.4).
func T10Designator(vendor, id string) Designator {
	v := make([]byte, 8, 8+len(id))
	putASCII(v, vendor)
	return Designator{Association: OfUnit, Type: DesignatorT10, CodeSet: CodeASCII, Value: append(v, id...)}
}

// NAADesignator names a logical unit by a locally assigned NAA, type 3: the
// low 60 bits of id count (SPC-4 §7.8.6.6.4).
func NAADesignator(id uint64) Designator {
	return Designator{
		Association: OfUnit, Type: DesignatorNAA, CodeSet: CodeBinary,
		Value: binary.BigEndian.AppendUint64(nil, NAALocal(id)),
	}
}

// NAALocal returns the locally assigned NAA identifier with the low 60 bits of
// id.
func NAALocal(id uint64) uint64 { return 3<<60 | id&(1<<60-1) }

// RelativePortDesignator names the target port by its relative target port
// identifier (SPC-4 §7.8.6.7).
func RelativePortDesignator(id uint16) Designator {
	return Designator{
		Association: OfPort, Type: DesignatorRelativePort, CodeSet: CodeBinary, PIV: true, Protocol: ProtocolISCSI,
		Value: []byte{0, 0, byte(id >> 8), byte(id)},
	}
}

// PortGroupDesignator names the target port group that holds the target port
// (SPC-4 §7.8.6.8).
func PortGroupDesignator(id uint16) Designator {
	return Designator{
		Association: OfPort, Type: DesignatorPortGroup, CodeSet: CodeBinary, PIV: true, Protocol: ProtocolISCSI,
		Value: []byte{0, 0, byte(id >> 8), byte(id)},
	}
}

// NameDesignator is a SCSI name string: UTF-8, ended by a NUL and padded with
// NULs to a multiple of four bytes (SPC-4 §7.8.6.11). It says what it names by
// a; the protocol is told where a is a port or a device.
func NameDesignator(a Association, name string) Designator {
	return Designator{
		Association: a, Type: DesignatorSCSIName, CodeSet: CodeUTF8, PIV: a != OfUnit, Protocol: ProtocolISCSI,
		Value: padNUL([]byte(name), 4),
	}
}

// padNUL returns s with one to n NULs added, so that its length is a multiple
// of n.
func padNUL(s []byte, n int) []byte {
	return append(s, make([]byte, n-len(s)%n)...)
}

// Append appends the descriptor. A value longer than 255 bytes, which no
// constructor of valid names makes, is cut.
func (d *Designator) Append(b []byte) []byte {
	v := d.Value[:min(len(d.Value), 255)]
	first := d.CodeSet & 0x0f
	if d.PIV {
		first |= d.Protocol << 4
	}
	b = append(b, first, bit(d.PIV, 7)|byte(d.Association&3)<<4|byte(d.Type&0x0f), 0, byte(len(v)))
	return append(b, v...)
}

// ParseDesignator reads the descriptor at the start of b. It returns the
// number of bytes it takes; Value is part of b.
func ParseDesignator(b []byte) (Designator, int, error) {
	if len(b) < 4 {
		return Designator{}, 0, short("designation descriptor", len(b), 4)
	}
	n := 4 + int(b[3])
	if len(b) < n {
		return Designator{}, 0, short("designation descriptor", len(b), n)
	}
	d := Designator{
		Association: Association(b[1] >> 4 & 3), Type: DesignatorType(b[1] & 0x0f), CodeSet: b[0] & 0x0f,
		PIV: b[1]&0x80 != 0, Value: b[4:n:n],
	}
	if d.PIV {
		d.Protocol = b[0] >> 4
	}
	return d, n, nil
}

// Equal reports whether two designators name the same thing: all of their
// fields agree.
func (d *Designator) Equal(o *Designator) bool {
	return d.Association == o.Association && d.Type == o.Type && d.CodeSet == o.CodeSet && string(d.Value) == string(o.Value)
}

// AppendVPDDeviceID appends page 83h.
func AppendVPDDeviceID(b []byte, peripheral byte, ids []Designator) []byte {
	start := len(b)
	b = beginVPD(b, peripheral, VPDDeviceID)
	for i := range ids {
		b = ids[i].Append(b)
	}
	return endVPD(b, start)
}

// ParseVPDDeviceID reads page 83h. Values are parts of b.
func ParseVPDDeviceID(b []byte) ([]Designator, error) {
	if len(b) < vpdHeaderLen || VPDPage(b[1]) != VPDDeviceID {
		return nil, fmt.Errorf("VPD page 83h: not such a page: % x", b[:min(len(b), vpdHeaderLen)])
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	b = b[vpdHeaderLen:]
	if len(b) < n {
		return nil, short("VPD page 83h", len(b), n)
	}
	var ids []Designator
	for b = b[:n]; len(b) > 0; {
		d, used, err := ParseDesignator(b)
		if err != nil {
			return nil, err
		}
		ids, b = append(ids, d), b[used:]
	}
	return ids, nil
}
