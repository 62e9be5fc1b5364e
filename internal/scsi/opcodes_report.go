package scsi

import (
	"encoding/binary"
	"time"
)

// Values of SUPPORT in the one-command form of REPORT SUPPORTED OPERATION
// CODES (SPC-4 table 251).
const (
	SupportUnknown  uint8 = 0
	SupportNone     uint8 = 1
	SupportStandard uint8 = 3
	SupportVendor   uint8 = 5
)

// firstVendorOp begins the vendor specific operation codes (SPC-4 table 18).
const firstVendorOp OpCode = 0xc0

// CommandTimeouts is a command timeouts descriptor (SPC-4 §6.35.4). Times are
// told in whole seconds, 0 meaning none is known.
type CommandTimeouts struct {
	Specific    uint8
	Nominal     time.Duration // what the command takes at most, normally
	Recommended time.Duration // when a host should give up
}

func (t *CommandTimeouts) append(b []byte) []byte {
	b = append(b, 0, 0x0a, 0, t.Specific)
	b = binary.BigEndian.AppendUint32(b, uint32(t.Nominal/time.Second))
	return binary.BigEndian.AppendUint32(b, uint32(t.Recommended/time.Second))
}

// SupportedCommand is a command descriptor of REPORT SUPPORTED OPERATION CODES
// (SPC-4 §6.35.2, §6.35.3).
type SupportedCommand struct {
	Op        OpCode
	Action    ServiceAction
	HasAction bool   // SERVACTV
	Usage     []byte // CDB usage data, as long as the CDB
	Timeouts  CommandTimeouts
}

// AppendSupportedCommands appends the all-commands form.
func AppendSupportedCommands(b []byte, list []SupportedCommand, timeouts bool) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	for i := range list {
		c := &list[i]
		b = append(b, byte(c.Op), 0)
		b = binary.BigEndian.AppendUint16(b, uint16(c.Action))
		b = append(b, 0, bit(timeouts, 1)|bit(c.HasAction, 0))
		b = binary.BigEndian.AppendUint16(b, uint16(len(c.Usage)))
		if timeouts {
			b = c.Timeouts.append(b)
		}
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// AppendSupportedCommand appends the one-command form; nil means that the
// command is not supported.
func AppendSupportedCommand(b []byte, c *SupportedCommand, timeouts bool) []byte {
	if c == nil {
		return append(b, 0, SupportNone, 0, 0)
	}
	support := SupportStandard
	if c.Op >= firstVendorOp {
		support = SupportVendor
	}
	b = append(b, 0, bit(timeouts, 7)|support)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Usage)))
	b = append(b, c.Usage...)
	if timeouts {
		b = c.Timeouts.append(b)
	}
	return b
}

// SupportedTMFs is the parameter data of REPORT SUPPORTED TASK MANAGEMENT
// FUNCTIONS (SPC-4 §6.36).
type SupportedTMFs struct {
	AbortTask, AbortTaskSet, ClearACA, ClearTaskSet, UnitReset, QueryTask bool
	TargetReset                                                           bool // obsolete, but iSCSI has it
	QueryAsyncEvent, QueryTaskSet, NexusReset                             bool
}

// Append appends the data, 4 bytes, or 16 with the extended data. Timeouts are
// not reported.
func (s *SupportedTMFs) Append(b []byte, extended bool) []byte {
	b = append(b,
		bit(s.AbortTask, 7)|bit(s.AbortTaskSet, 6)|bit(s.ClearACA, 5)|bit(s.ClearTaskSet, 4)|bit(s.UnitReset, 3)|
			bit(s.QueryTask, 2)|bit(s.TargetReset, 1),
		bit(s.QueryAsyncEvent, 2)|bit(s.QueryTaskSet, 1)|bit(s.NexusReset, 0), 0, 0)
	if extended {
		b[len(b)-1] = 0x0c
		b = append(b, make([]byte, 12)...)
	}
	return b
}
