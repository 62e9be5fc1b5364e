package scsi

import "fmt"

// OpCode is an OPERATION CODE, byte 0 of a CDB (SPC-4 §4.2.5.1).
type OpCode uint8

// The operation codes in use (SPC-4 table E.2, SBC-3 table 24).
const (
	OpTestUnitReady      OpCode = 0x00
	OpRequestSense       OpCode = 0x03
	OpRead6              OpCode = 0x08
	OpWrite6             OpCode = 0x0a
	OpInquiry            OpCode = 0x12
	OpModeSelect6        OpCode = 0x15
	OpReserve6           OpCode = 0x16
	OpRelease6           OpCode = 0x17
	OpModeSense6         OpCode = 0x1a
	OpStartStopUnit      OpCode = 0x1b
	OpSendDiagnostic     OpCode = 0x1d
	OpPreventAllow       OpCode = 0x1e
	OpReadCapacity10     OpCode = 0x25
	OpRead10             OpCode = 0x28
	OpWrite10            OpCode = 0x2a
	OpWriteAndVerify10   OpCode = 0x2e
	OpVerify10           OpCode = 0x2f
	OpPreFetch10         OpCode = 0x34
	OpSynchronizeCache10 OpCode = 0x35
	OpReadDefectData10   OpCode = 0x37
	OpWriteSame10        OpCode = 0x41
	OpUnmap              OpCode = 0x42
	OpSanitize           OpCode = 0x48 // service actions Sanitize*
	OpLogSelect          OpCode = 0x4c
	OpLogSense           OpCode = 0x4d
	OpModeSelect10       OpCode = 0x55
	OpReserve10          OpCode = 0x56
	OpRelease10          OpCode = 0x57
	OpModeSense10        OpCode = 0x5a
	OpPersistReserveIn   OpCode = 0x5e // service actions of package pr
	OpPersistReserveOut  OpCode = 0x5f // service actions of package pr
	OpExtendedCopy       OpCode = 0x83 // service action: the LIST of package copy
	OpReceiveCopyResults OpCode = 0x84 // service actions of package copy
	OpRead16             OpCode = 0x88
	OpCompareAndWrite    OpCode = 0x89
	OpWrite16            OpCode = 0x8a
	OpOrWrite16          OpCode = 0x8b
	OpWriteAndVerify16   OpCode = 0x8e
	OpVerify16           OpCode = 0x8f
	OpPreFetch16         OpCode = 0x90
	OpSynchronizeCache16 OpCode = 0x91
	OpWriteSame16        OpCode = 0x93
	OpWriteAtomic16      OpCode = 0x9c
	OpServiceActionIn16  OpCode = 0x9e // service actions SAReadCapacity16, SAGetLBAStatus
	OpReportLUNs         OpCode = 0xa0
	OpMaintenanceIn      OpCode = 0xa3 // service actions SAReport*
	OpMaintenanceOut     OpCode = 0xa4 // service action SASetTargetPortGroups
	OpRead12             OpCode = 0xa8
	OpWrite12            OpCode = 0xaa
	OpWriteAndVerify12   OpCode = 0xae
	OpVerify12           OpCode = 0xaf
	OpReadDefectData12   OpCode = 0xb7
	OpFence              OpCode = 0xc1 // vendor specific: docs/fence.md; service actions SAFence*
)

// ServiceAction qualifies an operation code that stands for several commands
// (SPC-4 §4.2.5.2).
type ServiceAction uint16

// Service actions of OpServiceActionIn16, OpMaintenanceIn and
// OpMaintenanceOut.
const (
	SAReadCapacity16         ServiceAction = 0x10 // SERVICE ACTION IN(16)
	SAGetLBAStatus16         ServiceAction = 0x12 // SERVICE ACTION IN(16)
	SAReportTargetPortGroups ServiceAction = 0x0a // MAINTENANCE IN
	SAReportOpCodes          ServiceAction = 0x0c // MAINTENANCE IN
	SAReportTMFs             ServiceAction = 0x0d // MAINTENANCE IN
	SASetTargetPortGroups    ServiceAction = 0x0a // MAINTENANCE OUT
)

// Service actions of SANITIZE (SBC-3 §5.29).
const (
	SASanitizeOverwrite       ServiceAction = 0x01
	SASanitizeBlockErase      ServiceAction = 0x02
	SASanitizeCryptoErase     ServiceAction = 0x03
	SASanitizeExitFailureMode ServiceAction = 0x1f
)

// CDBLen returns the length in bytes of the CDB with this operation code, by
// its group (SPC-4 table 18), or 0 for groups whose length it does not tell
// (variable-length and vendor specific ones, of which FENCE alone is known).
func (o OpCode) CDBLen() int {
	if o == OpFence {
		return 16
	}
	switch o >> 5 {
	case 0:
		return 6
	case 1, 2:
		return 10
	case 4:
		return 16
	case 5:
		return 12
	}
	return 0
}

// HasServiceAction reports whether the commands of o are told apart by a
// service action, which is the low five bits of byte 1 (SPC-4 §4.2.5.2).
func (o OpCode) HasServiceAction() bool {
	switch o {
	case OpSanitize, OpPersistReserveIn, OpPersistReserveOut, OpExtendedCopy, OpReceiveCopyResults,
		OpServiceActionIn16, OpMaintenanceIn, OpMaintenanceOut, OpFence:
		return true
	}
	return false
}

var opNames = map[OpCode]string{
	OpTestUnitReady: "TEST UNIT READY", OpRequestSense: "REQUEST SENSE", OpRead6: "READ(6)", OpWrite6: "WRITE(6)",
	OpInquiry: "INQUIRY", OpModeSelect6: "MODE SELECT(6)", OpReserve6: "RESERVE(6)", OpRelease6: "RELEASE(6)",
	OpModeSense6: "MODE SENSE(6)", OpStartStopUnit: "START STOP UNIT", OpSendDiagnostic: "SEND DIAGNOSTIC", OpPreventAllow: "PREVENT ALLOW MEDIUM REMOVAL",
	OpReadCapacity10: "READ CAPACITY(10)", OpRead10: "READ(10)", OpWrite10: "WRITE(10)",
	OpWriteAndVerify10: "WRITE AND VERIFY(10)", OpVerify10: "VERIFY(10)", OpPreFetch10: "PRE-FETCH(10)",
	OpSynchronizeCache10: "SYNCHRONIZE CACHE(10)", OpReadDefectData10: "READ DEFECT DATA(10)",
	OpWriteSame10: "WRITE SAME(10)", OpUnmap: "UNMAP", OpSanitize: "SANITIZE", OpLogSelect: "LOG SELECT",
	OpLogSense: "LOG SENSE", OpModeSelect10: "MODE SELECT(10)", OpReserve10: "RESERVE(10)", OpRelease10: "RELEASE(10)",
	OpModeSense10: "MODE SENSE(10)", OpPersistReserveIn: "PERSISTENT RESERVE IN",
	OpPersistReserveOut: "PERSISTENT RESERVE OUT", OpExtendedCopy: "EXTENDED COPY",
	OpReceiveCopyResults: "RECEIVE COPY RESULTS", OpRead16: "READ(16)", OpCompareAndWrite: "COMPARE AND WRITE",
	OpWrite16: "WRITE(16)", OpOrWrite16: "ORWRITE(16)", OpWriteAndVerify16: "WRITE AND VERIFY(16)",
	OpVerify16: "VERIFY(16)", OpPreFetch16: "PRE-FETCH(16)", OpSynchronizeCache16: "SYNCHRONIZE CACHE(16)",
	OpWriteSame16: "WRITE SAME(16)", OpWriteAtomic16: "WRITE ATOMIC(16)", OpServiceActionIn16: "SERVICE ACTION IN(16)",
	OpReportLUNs: "REPORT LUNS", OpMaintenanceIn: "MAINTENANCE IN", OpMaintenanceOut: "MAINTENANCE OUT",
	OpRead12: "READ(12)", OpWrite12: "WRITE(12)", OpWriteAndVerify12: "WRITE AND VERIFY(12)",
	OpVerify12: "VERIFY(12)", OpReadDefectData12: "READ DEFECT DATA(12)", OpFence: "FENCE",
}

// String returns the command's name in the words of the standards.
func (o OpCode) String() string {
	if n, ok := opNames[o]; ok {
		return n
	}
	return fmt.Sprintf("opcode %02xh", uint8(o))
}
