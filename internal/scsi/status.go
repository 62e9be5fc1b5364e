// Package scsi holds the codecs of SAM-5, SPC-4/5 and SBC-3/4: CDBs, status,
// sense data, VPD and mode pages, parameter lists. It turns bytes into values
// and back; it has no I/O and no goroutines.
package scsi

import "fmt"

// Status is a SCSI status code (SAM-5 §5.3.1).
type Status uint8

// The status codes in use.
const (
	Good                 Status = 0x00
	CheckConditionStatus Status = 0x02
	ConditionMet         Status = 0x04
	Busy                 Status = 0x08
	ReservationConflict  Status = 0x18
	TaskSetFull          Status = 0x28
	ACAActive            Status = 0x30
	TaskAborted          Status = 0x40
)

// String returns the name of SAM-5.
func (s Status) String() string {
	switch s {
	case Good:
		return "GOOD"
	case CheckConditionStatus:
		return "CHECK CONDITION"
	case ConditionMet:
		return "CONDITION MET"
	case Busy:
		return "BUSY"
	case ReservationConflict:
		return "RESERVATION CONFLICT"
	case TaskSetFull:
		return "TASK SET FULL"
	case ACAActive:
		return "ACA ACTIVE"
	case TaskAborted:
		return "TASK ABORTED"
	}
	return fmt.Sprintf("status %02xh", uint8(s))
}

// TaskAttr is a task attribute (SAM-5 §8.6). The values are those of the ATTR
// field of the iSCSI SCSI Command PDU (RFC 7143 §11.3.1).
type TaskAttr uint8

// The task attributes.
const (
	Untagged TaskAttr = iota
	Simple
	Ordered
	HeadOfQueue
	ACA
)
