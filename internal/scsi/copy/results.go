package copy

import (
	"encoding/binary"

	"sango/internal/scsi"
)

// Operating is the parameter data of RECEIVE COPY OPERATING PARAMETERS (SPC-4
// §6.21).
type Operating struct {
	Limits
	NoListID           bool    // SNLID: lists without list identifier are supported
	MaxSegmentLength   uint32  // bytes; 0: no limit
	HeldData           uint32  // HELD DATA LIMIT, bytes
	TotalConcurrent    uint16  // copies
	MaxConcurrent      uint8   // copies with a list identifier
	SegmentGranularity uint8   // log2 of bytes
	HeldGranularity    uint8   // log2 of bytes
	Descriptors        []uint8 // supported type codes, ascending
}

// Append appends the data.
func (o *Operating) Append(b []byte) []byte {
	be := binary.BigEndian
	start := len(b)
	var d [44]byte
	if o.NoListID {
		d[4] = 0x01
	}
	be.PutUint16(d[8:], uint16(o.Targets))
	be.PutUint16(d[10:], uint16(o.Segments))
	be.PutUint32(d[12:], uint32(o.ListLength))
	be.PutUint32(d[16:], o.MaxSegmentLength)
	be.PutUint32(d[24:], o.HeldData)
	be.PutUint16(d[34:], o.TotalConcurrent)
	d[36], d[37], d[39] = o.MaxConcurrent, o.SegmentGranularity, o.HeldGranularity
	d[43] = byte(len(o.Descriptors))
	b = append(b, d[:]...)
	b = append(b, o.Descriptors...)
	be.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// State is the COPY MANAGER STATUS of RECEIVE COPY STATUS (SPC-4 table 257).
type State uint8

// The states.
const (
	InProgress State = 0
	Done       State = 1
	Failed     State = 2
)

// unitBytes is the TRANSFER COUNT UNITS code for bytes; each step above counts
// 1024 times as much (SPC-4 table 258).
const unitBytes uint8 = 0

// Progress is the parameter data of RECEIVE COPY STATUS(LID1) (SPC-4 §6.23).
type Progress struct {
	State    State
	Segments uint16 // processed
	Bytes    uint64 // transferred; told in KiB, MiB, ... where it is large
}

// Append appends the data, 12 bytes.
func (p *Progress) Append(b []byte) []byte {
	n, unit := p.Bytes, unitBytes
	for ; n > 1<<32-1; n >>= 10 {
		unit++
	}
	b = append(b, 0, 0, 0, 8, byte(p.State)&0x7f, byte(p.Segments>>8), byte(p.Segments), unit)
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// AppendFailure appends the parameter data of RECEIVE COPY FAILURE
// DETAILS(LID1): the status of a copy that failed and its sense data; without
// either when there is none (SPC-4 §6.20).
func AppendFailure(b []byte, status scsi.Status, sense []byte) []byte {
	if status == scsi.Good {
		return append(b, 0, 0, 0, 0)
	}
	start := len(b)
	b = append(b, make([]byte, 60)...)
	b[start+56] = byte(status)
	binary.BigEndian.PutUint16(b[start+58:], uint16(len(sense)))
	b = append(b, sense...)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}
