package scsi

import "encoding/binary"

// StartStop is a START STOP UNIT CDB (SBC-3 §5.25).
type StartStop struct {
	Immediate      bool
	Modifier       uint8 // POWER CONDITION MODIFIER
	PowerCondition uint8 // 0: START and LOEJ count
	NoFlush        bool
	LoadEject      bool // LOEJ
	Start          bool
}

// ParseStartStop reads a START STOP UNIT CDB.
func ParseStartStop(c *CDB) StartStop {
	return StartStop{
		Immediate: c[1]&0x01 != 0, Modifier: c[3] & 0x0f, PowerCondition: c[4] >> 4,
		NoFlush: c[4]&0x04 != 0, LoadEject: c[4]&0x02 != 0, Start: c[4]&0x01 != 0,
	}
}

// ParsePreventAllow returns the PREVENT field of PREVENT ALLOW MEDIUM REMOVAL
// (SBC-3 §5.15): bit 0 prevents removal; values 2 and 3 are obsolete.
func ParsePreventAllow(c *CDB) uint8 { return c[4] & 0x03 }

// ReadCapacity is a READ CAPACITY (10) or (16) CDB (SBC-3 §5.16, §5.17).
type ReadCapacity struct {
	LBA        LBA  // obsolete, as is PMI
	PMI        bool // obsolete
	Allocation uint32
}

// ParseReadCapacity reads a READ CAPACITY CDB; the 10-byte form has the
// allocation length 8 by definition.
func ParseReadCapacity(c *CDB) ReadCapacity {
	if Op(c) == OpReadCapacity10 {
		return ReadCapacity{LBA: LBA(binary.BigEndian.Uint32(c[2:])), PMI: c[8]&0x01 != 0, Allocation: 8}
	}
	return ReadCapacity{
		LBA: LBA(binary.BigEndian.Uint64(c[2:])), PMI: c[14]&0x01 != 0,
		Allocation: binary.BigEndian.Uint32(c[10:]),
	}
}

// GetLBAStatus is a GET LBA STATUS(16) CDB (SBC-3 §5.5; the report type is of
// SBC-4).
type GetLBAStatus struct {
	LBA        LBA
	Allocation uint32
	ReportType uint8
}

// ParseGetLBAStatus reads a GET LBA STATUS(16) CDB.
func ParseGetLBAStatus(c *CDB) GetLBAStatus {
	return GetLBAStatus{
		LBA: LBA(binary.BigEndian.Uint64(c[2:])), Allocation: binary.BigEndian.Uint32(c[10:]), ReportType: c[14],
	}
}

// Unmap is an UNMAP CDB (SBC-3 §5.28).
type Unmap struct {
	Anchor bool
	Group  uint8
	Length uint16 // of the parameter list, in bytes
}

// ParseUnmap reads an UNMAP CDB.
func ParseUnmap(c *CDB) Unmap {
	return Unmap{Anchor: c[1]&0x01 != 0, Group: c[6] & 0x3f, Length: binary.BigEndian.Uint16(c[7:])}
}

// ReadDefectData is a READ DEFECT DATA (10) or (12) CDB (SBC-3 §5.18, §5.19).
type ReadDefectData struct {
	Primary    bool  // REQ_PLIST
	Grown      bool  // REQ_GLIST
	Format     uint8 // DEFECT LIST FORMAT
	Index      uint32
	Allocation uint32
}

// ParseReadDefectData reads either form.
func ParseReadDefectData(c *CDB) ReadDefectData {
	if Op(c) == OpReadDefectData10 {
		return ReadDefectData{
			Primary: c[2]&0x10 != 0, Grown: c[2]&0x08 != 0, Format: c[2] & 0x07,
			Allocation: uint32(binary.BigEndian.Uint16(c[7:])),
		}
	}
	return ReadDefectData{
		Primary: c[1]&0x10 != 0, Grown: c[1]&0x08 != 0, Format: c[1] & 0x07,
		Index: binary.BigEndian.Uint32(c[2:]), Allocation: binary.BigEndian.Uint32(c[6:]),
	}
}

// Sanitize is a SANITIZE CDB (SBC-3 §5.29).
type Sanitize struct {
	Action    ServiceAction
	Immediate bool
	ZoneReset bool   // ZNR, of SBC-4
	AUSE      bool   // allow unrestricted sanitize exit
	Length    uint16 // of the parameter list, in bytes
}

// ParseSanitize reads a SANITIZE CDB.
func ParseSanitize(c *CDB) Sanitize {
	return Sanitize{
		Action: Action(c), Immediate: c[1]&0x80 != 0, ZoneReset: c[1]&0x40 != 0, AUSE: c[1]&0x20 != 0,
		Length: binary.BigEndian.Uint16(c[7:]),
	}
}
