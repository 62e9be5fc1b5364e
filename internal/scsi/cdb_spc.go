package scsi

import "encoding/binary"

// ParseRequestSense reads a REQUEST SENSE CDB (SPC-4 §6.39): whether
// descriptor format is asked for, and the allocation length.
func ParseRequestSense(c *CDB) (desc bool, allocation uint32) {
	return c[1]&0x01 != 0, uint32(c[4])
}

// Inquiry is an INQUIRY CDB (SPC-4 §6.6).
type Inquiry struct {
	EVPD       bool
	CmdDt      bool // obsolete
	Page       VPDPage
	Allocation uint16
}

// ParseInquiry reads an INQUIRY CDB.
func ParseInquiry(c *CDB) Inquiry {
	return Inquiry{
		EVPD: c[1]&0x01 != 0, CmdDt: c[1]&0x02 != 0, Page: VPDPage(c[2]),
		Allocation: binary.BigEndian.Uint16(c[3:]),
	}
}

// PageControl is the PC field of MODE SENSE and LOG SENSE (SPC-4 table 153,
// table 146).
type PageControl uint8

// The page controls of MODE SENSE.
const (
	PageCurrent    PageControl = 0
	PageChangeable PageControl = 1
	PageDefault    PageControl = 2
	PageSaved      PageControl = 3
)

// ModeSense is a MODE SENSE (6) or (10) CDB (SPC-4 §6.11, §6.12).
type ModeSense struct {
	Long       bool // the 10-byte form: long header
	LLBAA      bool // long LBA block descriptors are accepted
	DBD        bool // no block descriptors
	Control    PageControl
	Page       uint8
	Subpage    uint8
	Allocation uint16
}

// ParseModeSense reads either form.
func ParseModeSense(c *CDB) ModeSense {
	m := ModeSense{
		DBD: c[1]&0x08 != 0, Control: PageControl(c[2] >> 6), Page: c[2] & 0x3f, Subpage: c[3],
	}
	if Op(c) == OpModeSense6 {
		m.Allocation = uint16(c[4])
		return m
	}
	m.Long, m.LLBAA, m.Allocation = true, c[1]&0x10 != 0, binary.BigEndian.Uint16(c[7:])
	return m
}

// ModeSelect is a MODE SELECT (6) or (10) CDB (SPC-4 §6.9, §6.10).
type ModeSelect struct {
	Long   bool   // the 10-byte form: long header
	PF     bool   // page format: must be set for pages as SPC defines them
	RTD    bool   // revert to defaults (SPC-5)
	Save   bool   // SP
	Length uint16 // of the parameter list, in bytes
}

// ParseModeSelect reads either form.
func ParseModeSelect(c *CDB) ModeSelect {
	m := ModeSelect{PF: c[1]&0x10 != 0, RTD: c[1]&0x02 != 0, Save: c[1]&0x01 != 0, Length: uint16(c[4])}
	if Op(c) == OpModeSelect10 {
		m.Long, m.Length = true, binary.BigEndian.Uint16(c[7:])
	}
	return m
}

// LogSense is a LOG SENSE CDB (SPC-4 §6.8).
type LogSense struct {
	PPC        bool // obsolete
	Save       bool // SP
	Control    PageControl
	Page       uint8
	Subpage    uint8
	Pointer    uint16 // PARAMETER POINTER
	Allocation uint16
}

// ParseLogSense reads a LOG SENSE CDB.
func ParseLogSense(c *CDB) LogSense {
	return LogSense{
		PPC: c[1]&0x02 != 0, Save: c[1]&0x01 != 0, Control: PageControl(c[2] >> 6), Page: c[2] & 0x3f,
		Subpage: c[3], Pointer: binary.BigEndian.Uint16(c[5:]), Allocation: binary.BigEndian.Uint16(c[7:]),
	}
}

// ReportLUNs is a REPORT LUNS CDB (SPC-4 §6.33).
type ReportLUNs struct {
	Select     uint8 // SELECT REPORT
	Allocation uint32
}

// ParseReportLUNs reads a REPORT LUNS CDB.
func ParseReportLUNs(c *CDB) ReportLUNs {
	return ReportLUNs{Select: c[2], Allocation: binary.BigEndian.Uint32(c[6:])}
}

// ReportTargetPortGroups is a REPORT TARGET PORT GROUPS CDB (SPC-4 §6.37).
type ReportTargetPortGroups struct {
	Format     uint8 // PARAMETER DATA FORMAT: 0 length only, 1 extended header
	Allocation uint32
}

// ParseReportTargetPortGroups reads a REPORT TARGET PORT GROUPS CDB.
func ParseReportTargetPortGroups(c *CDB) ReportTargetPortGroups {
	return ReportTargetPortGroups{Format: c[1] >> 5, Allocation: binary.BigEndian.Uint32(c[6:])}
}

// ParseSetTargetPortGroups returns the parameter list length of SET TARGET
// PORT GROUPS (SPC-4 §6.45).
func ParseSetTargetPortGroups(c *CDB) uint32 { return binary.BigEndian.Uint32(c[6:]) }

// ReportOption is the REPORTING OPTIONS field of REPORT SUPPORTED OPERATION
// CODES (SPC-4 table 249).
type ReportOption uint8

// What REPORT SUPPORTED OPERATION CODES is to tell.
const (
	ReportAll       ReportOption = 0 // every command
	ReportOne       ReportOption = 1 // one operation code, which has no service actions
	ReportAction    ReportOption = 2 // one operation code and service action
	ReportOneEither ReportOption = 3 // one command, with or without service action (SPC-5)
)

// ReportOpCodes is a REPORT SUPPORTED OPERATION CODES CDB (SPC-4 §6.35).
type ReportOpCodes struct {
	Timeouts   bool // RCTD: with command timeouts descriptors
	Option     ReportOption
	Op         OpCode
	Action     ServiceAction
	Allocation uint32
}

// ParseReportOpCodes reads a REPORT SUPPORTED OPERATION CODES CDB.
func ParseReportOpCodes(c *CDB) ReportOpCodes {
	return ReportOpCodes{
		Timeouts: c[2]&0x80 != 0, Option: ReportOption(c[2] & 0x07), Op: OpCode(c[3]),
		Action: ServiceAction(binary.BigEndian.Uint16(c[4:])), Allocation: binary.BigEndian.Uint32(c[6:]),
	}
}

// ParseReportTMFs reads a REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS CDB
// (SPC-4 §6.36): whether extended data is asked for, and the allocation length.
func ParseReportTMFs(c *CDB) (extended bool, allocation uint32) {
	return c[2]&0x80 != 0, binary.BigEndian.Uint32(c[6:])
}

// Reserve6 is a RESERVE(6) or RELEASE(6) CDB (SPC-2 §7.22, §7.17).
type Reserve6 struct {
	ThirdParty bool  // 3RDPTY, obsolete
	DeviceID   uint8 // THIRD PARTY DEVICE ID
	Extent     bool  // obsolete
	ID         uint8 // RESERVATION IDENTIFICATION
	Length     uint16
}

// ParseReserve6 reads either.
func ParseReserve6(c *CDB) Reserve6 {
	return Reserve6{
		ThirdParty: c[1]&0x10 != 0, DeviceID: c[1] >> 1 & 0x07, Extent: c[1]&0x01 != 0, ID: c[2],
		Length: binary.BigEndian.Uint16(c[3:]),
	}
}

// PersistReserveIn is a PERSISTENT RESERVE IN CDB (SPC-4 §6.15).
type PersistReserveIn struct {
	Action     ServiceAction
	Allocation uint16
}

// ParsePersistReserveIn reads a PERSISTENT RESERVE IN CDB.
func ParsePersistReserveIn(c *CDB) PersistReserveIn {
	return PersistReserveIn{Action: Action(c), Allocation: binary.BigEndian.Uint16(c[7:])}
}

// PersistReserveOut is a PERSISTENT RESERVE OUT CDB (SPC-4 §6.16).
type PersistReserveOut struct {
	Action ServiceAction
	Scope  uint8
	Type   uint8
	Length uint32 // of the parameter list, in bytes
}

// ParsePersistReserveOut reads a PERSISTENT RESERVE OUT CDB.
func ParsePersistReserveOut(c *CDB) PersistReserveOut {
	return PersistReserveOut{
		Action: Action(c), Scope: c[2] >> 4, Type: c[2] & 0x0f, Length: binary.BigEndian.Uint32(c[5:]),
	}
}

// ParseExtendedCopy reads an EXTENDED COPY CDB (SPC-4 §6.4): its service
// action and the parameter list length.
func ParseExtendedCopy(c *CDB) (ServiceAction, uint32) {
	return Action(c), binary.BigEndian.Uint32(c[10:])
}

// ReceiveCopyResults is a RECEIVE COPY RESULTS CDB (SPC-4 §6.18 ff.).
type ReceiveCopyResults struct {
	Action     ServiceAction
	ListID     uint8
	Allocation uint32
}

// ParseReceiveCopyResults reads a RECEIVE COPY RESULTS CDB.
func ParseReceiveCopyResults(c *CDB) ReceiveCopyResults {
	return ReceiveCopyResults{Action: Action(c), ListID: c[2], Allocation: binary.BigEndian.Uint32(c[10:])}
}
