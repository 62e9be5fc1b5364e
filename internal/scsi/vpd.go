package scsi

import (
	"encoding/binary"
	"slices"
)

// VPDPage is the code of a vital product data page (SPC-4 §7.8).
type VPDPage uint8

// The VPD pages in use.
const (
	VPDSupported    VPDPage = 0x00
	VPDSerial       VPDPage = 0x80 // unit serial number
	VPDDeviceID     VPDPage = 0x83
	VPDSoftwareID   VPDPage = 0x84
	VPDManagement   VPDPage = 0x85 // management network addresses
	VPDExtended     VPDPage = 0x86 // extended INQUIRY data
	VPDModePolicy   VPDPage = 0x87 // mode page policy
	VPDPorts        VPDPage = 0x88 // SCSI ports
	VPDThirdParty   VPDPage = 0x8f // third-party copy
	VPDBlockLimits  VPDPage = 0xb0
	VPDBlockDevice  VPDPage = 0xb1 // block device characteristics
	VPDProvisioning VPDPage = 0xb2 // logical block provisioning
	VPDSango        VPDPage = 0xc0 // vendor specific: docs/fence.md
	vpdHeaderLen            = 4
)

// beginVPD appends the four-byte header of a page; endVPD sets its length.
func beginVPD(b []byte, peripheral byte, page VPDPage) []byte {
	return append(b, peripheral, byte(page), 0, 0)
}

func endVPD(b []byte, start int) []byte {
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start-vpdHeaderLen))
	return b
}

// AppendVPDSupported appends page 00h, which lists pages in ascending order
// (SPC-4 §7.8.15).
func AppendVPDSupported(b []byte, peripheral byte, pages []VPDPage) []byte {
	start := len(b)
	b = beginVPD(b, peripheral, VPDSupported)
	sorted := slices.Clone(pages)
	slices.Sort(sorted)
	for _, p := range slices.Compact(sorted) {
		b = append(b, byte(p))
	}
	return endVPD(b, start)
}

// AppendVPDSerial appends page 80h with the unit serial number in ASCII
// (SPC-4 §7.8.16).
func AppendVPDSerial(b []byte, peripheral byte, serial string) []byte {
	start := len(b)
	b = beginVPD(b, peripheral, VPDSerial)
	b = append(b, serial...)
	return endVPD(b, start)
}
