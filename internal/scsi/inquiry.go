package scsi

import "encoding/binary"

// Peripheral bytes of INQUIRY data: qualifier and device type (SPC-4 table
// 143, table 144).
const (
	PeripheralDisk    byte = 0x00 // a direct access block device is there
	PeripheralNoLU    byte = 0x7f // qualifier 3, type 1Fh: no logical unit can be there
	PeripheralOffline byte = 0x20 // qualifier 1: this LUN could have a disk, but has none now
)

// Version descriptors (SPC-4 §6.6.2, table 146).
const (
	VersionSAM5  uint16 = 0x00a0
	VersionSPC3  uint16 = 0x0300
	VersionSPC4  uint16 = 0x0460
	VersionSBC3  uint16 = 0x04c0
	VersionISCSI uint16 = 0x0960
)

// InquiryVersion is the VERSION field (SPC-4 table 145).
const (
	InquirySPC3 byte = 5
	InquirySPC4 byte = 6
)

// StandardInquiryLen is the length of the standard INQUIRY data, in bytes.
const StandardInquiryLen = 96

// Target port group support, the TPGS field (SPC-4 table 148).
const (
	TPGSNone     uint8 = 0
	TPGSImplicit uint8 = 1
	TPGSExplicit uint8 = 2
	TPGSBoth     uint8 = 3
)

// StandardInquiry is standard INQUIRY data (SPC-4 §6.6.2).
type StandardInquiry struct {
	Peripheral      byte
	Removable       bool // RMB
	Version         byte
	NormalACA       bool   // NORMACA
	HiSup           bool   // HISUP: LUNs are hierarchical as SAM-5 says
	TPGS            uint8  // TPGS*
	ThirdPartyCopy  bool   // 3PC
	Protect         bool   // protection information
	MultiPort       bool   // MULTIP
	CommandQueue    bool   // CMDQUE
	Vendor          string // at most 8 ASCII characters
	Product         string // at most 16
	Revision        string // at most 4
	VersionsClaimed []uint16
}

// Append appends the StandardInquiryLen bytes of q. Strings too long are cut;
// at most 8 version descriptors are taken.
func (q *StandardInquiry) Append(b []byte) []byte {
	var d [StandardInquiryLen]byte
	d[0] = q.Peripheral
	d[1] = bit(q.Removable, 7)
	d[2] = q.Version
	d[3] = bit(q.NormalACA, 5) | bit(q.HiSup, 4) | 2 // RESPONSE DATA FORMAT
	d[4] = StandardInquiryLen - 5
	d[5] = q.TPGS&3<<4 | bit(q.ThirdPartyCopy, 3) | bit(q.Protect, 0)
	d[6] = bit(q.MultiPort, 4)
	d[7] = bit(q.CommandQueue, 1)
	putASCII(d[8:16], q.Vendor)
	putASCII(d[16:32], q.Product)
	putASCII(d[32:36], q.Revision)
	for i, v := range q.VersionsClaimed {
		if i == 8 {
			break
		}
		binary.BigEndian.PutUint16(d[58+2*i:], v)
	}
	return append(b, d[:]...)
}

// ParseStandardInquiry reads standard INQUIRY data of at least 36 bytes, as
// every device returns.
func ParseStandardInquiry(d []byte) (StandardInquiry, error) {
	if len(d) < 36 {
		return StandardInquiry{}, short("standard INQUIRY data", len(d), 36)
	}
	q := StandardInquiry{
		Peripheral: d[0], Removable: d[1]&0x80 != 0, Version: d[2], NormalACA: d[3]&0x20 != 0, HiSup: d[3]&0x10 != 0,
		TPGS: d[5] >> 4 & 3, ThirdPartyCopy: d[5]&0x08 != 0, Protect: d[5]&0x01 != 0, MultiPort: d[6]&0x10 != 0,
		CommandQueue: d[7]&0x02 != 0, Vendor: trimASCII(d[8:16]), Product: trimASCII(d[16:32]), Revision: trimASCII(d[32:36]),
	}
	for i := 58; i+2 <= min(len(d), 74); i += 2 {
		if v := binary.BigEndian.Uint16(d[i:]); v != 0 {
			q.VersionsClaimed = append(q.VersionsClaimed, v)
		}
	}
	return q, nil
}

// putASCII fills d with s, left-aligned and padded with spaces (SPC-4 §4.3.1).
// Bytes that are not printable ASCII become '?'.
func putASCII(d []byte, s string) {
	for i := range d {
		d[i] = ' '
		if i < len(s) {
			d[i] = '?'
			if s[i] >= 0x20 && s[i] <= 0x7e {
				d[i] = s[i]
			}
		}
	}
}

func trimASCII(d []byte) string {
	for len(d) > 0 && (d[len(d)-1] == ' ' || d[len(d)-1] == 0) {
		d = d[:len(d)-1]
	}
	return string(d)
}
