// Package copy holds the codecs of EXTENDED COPY (LID1) and RECEIVE COPY
// RESULTS (SPC-4 §6.4, §6.18 ff., §7.5).
package copy

import (
	"encoding/binary"

	"sango/internal/scsi"
)

// Service actions of EXTENDED COPY (SPC-4 table 116) and RECEIVE COPY RESULTS
// (table 117).
const (
	LID1            scsi.ServiceAction = 0x00 // EXTENDED COPY(LID1)
	Status          scsi.ServiceAction = 0x00 // RECEIVE COPY STATUS(LID1)
	Data            scsi.ServiceAction = 0x01 // RECEIVE COPY DATA(LID1)
	OperatingParams scsi.ServiceAction = 0x03 // RECEIVE COPY OPERATING PARAMETERS
	FailureDetails  scsi.ServiceAction = 0x04 // RECEIVE COPY FAILURE DETAILS(LID1)
)

// Type codes of descriptors (SPC-4 table 104).
const (
	BlockToBlock   uint8 = 0x02
	Identification uint8 = 0xe4
)

// Lengths, in bytes.
const (
	HeaderLen       = 16
	TargetLen       = 32
	BlockToBlockLen = 28
	maxDesignator   = 20
)

// Usage is the LIST ID USAGE field (SPC-4 table 99).
type Usage uint8

// The usages.
const (
	UsageHold    Usage = 0 // the list identifier is used, results are held
	UsageDiscard Usage = 2 // the list identifier is used, data may be discarded
	UsageNone    Usage = 3 // there is no list identifier
)

// Limits bound a parameter list. They are what RECEIVE COPY OPERATING
// PARAMETERS and VPD page 8Fh tell.
type Limits struct {
	Targets    int // target descriptors
	Segments   int // segment descriptors
	ListLength int // of all descriptors, in bytes
}

// List is the parameter list of EXTENDED COPY(LID1).
type List struct {
	ID         uint8
	Sequential bool // STR: sequential striped
	Usage      Usage
	Priority   uint8
	Targets    []Target
	Segments   []Segment
}

// Target is an identification descriptor CSCD descriptor (SPC-4 §6.4.4.3): a
// logical unit named by one of the designators of its VPD page 83h.
type Target struct {
	Null          bool   // NUL: stands for no device
	Peripheral    uint8  // PERIPHERAL DEVICE TYPE
	InitiatorPort uint16 // RELATIVE INITIATOR PORT IDENTIFIER
	Designator    scsi.Designator
	Pad           bool   // PAD, device type specific
	BlockLength   uint32 // DISK BLOCK LENGTH, bytes
	At            uint16 // offset in the parameter list, in bytes
}

// Segment is a block device to block device segment descriptor, type 02h
// (SPC-4 §6.4.6.4).
type Segment struct {
	DestinationCount bool   // DC: Blocks counts those of the destination
	CAT              bool   // residual data is kept for the next segment
	Source           uint16 // index of the target descriptor
	Destination      uint16
	Blocks           uint16
	SourceLBA        scsi.LBA
	DestinationLBA   scsi.LBA
	At               uint16 // offset in the parameter list, in bytes
}

// Parse reads a parameter list. An empty list is no error: it returns nil
// (SPC-4 §6.4.1). The errors are those of SPC-4 §6.4.3: PARAMETER LIST LENGTH
// ERROR where descriptors are cut or longer than the limits, TOO MANY TARGET or
// SEGMENT DESCRIPTORS, UNSUPPORTED TARGET or SEGMENT DESCRIPTOR TYPE CODE, and
// INVALID FIELD IN PARAMETER LIST with a field pointer. Whether indices and
// LBAs name something is for the copy manager to see.
func Parse(b []byte, lim Limits) (*List, *scsi.CheckCondition) {
	if len(b) == 0 {
		return nil, nil
	}
	wrongLength := scsi.Check(scsi.IllegalRequest, scsi.ASCParameterListLength)
	if len(b) < HeaderLen {
		return nil, wrongLength
	}
	targets, segments := uint64(binary.BigEndian.Uint16(b[2:])), uint64(binary.BigEndian.Uint32(b[8:]))
	inline := binary.BigEndian.Uint32(b[12:])
	switch {
	case targets+segments > uint64(lim.ListLength), HeaderLen+targets+segments > uint64(len(b)):
		return nil, wrongLength
	case inline != 0:
		return nil, scsi.Check(scsi.IllegalRequest, scsi.ASCInlineDataLengthExceeded)
	case HeaderLen+targets+segments > 1<<16: // no field pointer could tell what is wrong past it
		return nil, wrongLength
	}
	l := &List{ID: b[0], Sequential: b[1]&0x20 != 0, Usage: Usage(b[1] >> 3 & 3), Priority: b[1] & 7}
	if l.Usage == 1 || l.Usage == UsageNone && l.ID != 0 {
		return nil, scsi.InvalidParameter(1, 4)
	}
	end := HeaderLen + int(targets)
	for at := HeaderLen; at < end; at += TargetLen {
		if b[at] != Identification {
			return nil, unsupported(scsi.ASCUnsupportedTargetDescriptor, at)
		}
		if len(l.Targets) >= lim.Targets {
			return nil, scsi.Check(scsi.IllegalRequest, scsi.ASCTooManyTargetDescriptors)
		}
		if end-at < TargetLen {
			return nil, scsi.InvalidParameter(2, -1)
		}
		t, cc := parseTarget(b[at:at+TargetLen], at)
		if cc != nil {
			return nil, cc
		}
		l.Targets = append(l.Targets, t)
	}
	for at, end := end, end+int(segments); at < end; at += BlockToBlockLen {
		if b[at] != BlockToBlock {
			return nil, unsupported(scsi.ASCUnsupportedSegmentDescriptor, at)
		}
		if len(l.Segments) >= lim.Segments {
			return nil, scsi.Check(scsi.IllegalRequest, scsi.ASCTooManySegmentDescriptors)
		}
		if end-at < BlockToBlockLen {
			return nil, scsi.InvalidParameter(8, -1)
		}
		if binary.BigEndian.Uint16(b[at+2:]) != BlockToBlockLen-4 {
			return nil, scsi.InvalidParameter(uint16(at+2), -1)
		}
		l.Segments = append(l.Segments, parseSegment(b[at:], at))
	}
	return l, nil
}

func unsupported(asc scsi.ASC, at int) *scsi.CheckCondition {
	cc := scsi.InvalidParameter(uint16(at), -1)
	cc.Sense.ASC = asc
	return cc
}

func parseTarget(d []byte, at int) (Target, *scsi.CheckCondition) {
	if d[1]>>6 != 0 { // LU ID TYPE
		return Target{}, scsi.InvalidParameter(uint16(at+1), 7)
	}
	if d[7] > maxDesignator {
		return Target{}, scsi.InvalidParameter(uint16(at+7), -1)
	}
	id, _, err := scsi.ParseDesignator(d[4 : 8+maxDesignator])
	if err != nil {
		return Target{}, scsi.InvalidParameter(uint16(at+7), -1)
	}
	return Target{
		Null: d[1]&0x20 != 0, Peripheral: d[1] & 0x1f, InitiatorPort: binary.BigEndian.Uint16(d[2:]), Designator: id,
		Pad: d[28]&0x04 != 0, BlockLength: binary.BigEndian.Uint32(d[28:]) & 0xffffff, At: uint16(at),
	}, nil
}

func parseSegment(d []byte, at int) Segment {
	be := binary.BigEndian
	return Segment{
		DestinationCount: d[1]&0x02 != 0, CAT: d[1]&0x01 != 0, Source: be.Uint16(d[4:]), Destination: be.Uint16(d[6:]),
		Blocks: be.Uint16(d[10:]), SourceLBA: scsi.LBA(be.Uint64(d[12:])), DestinationLBA: scsi.LBA(be.Uint64(d[20:])),
		At: uint16(at),
	}
}

// Append appends the parameter list; designators must have at most 20 bytes.
func (l *List) Append(b []byte) []byte {
	be := binary.BigEndian
	flags := byte(l.Usage&3)<<3 | l.Priority&7
	if l.Sequential {
		flags |= 0x20
	}
	b = append(b, l.ID, flags)
	b = be.AppendUint16(b, uint16(len(l.Targets)*TargetLen))
	b = append(b, 0, 0, 0, 0)
	b = be.AppendUint32(b, uint32(len(l.Segments)*BlockToBlockLen))
	b = append(b, 0, 0, 0, 0)
	for i := range l.Targets {
		t := &l.Targets[i]
		var d [TargetLen]byte
		d[0], d[1] = Identification, t.Peripheral&0x1f
		if t.Null {
			d[1] |= 0x20
		}
		be.PutUint16(d[2:], t.InitiatorPort)
		id := t.Designator
		id.Value = id.Value[:min(len(id.Value), maxDesignator)]
		id.Append(d[:4])
		be.PutUint32(d[28:], t.BlockLength&0xffffff)
		if t.Pad {
			d[28] |= 0x04
		}
		b = append(b, d[:]...)
	}
	for i := range l.Segments {
		s := &l.Segments[i]
		var d [BlockToBlockLen]byte
		d[0], d[3] = BlockToBlock, BlockToBlockLen-4
		if s.DestinationCount {
			d[1] |= 0x02
		}
		if s.CAT {
			d[1] |= 0x01
		}
		be.PutUint16(d[4:], s.Source)
		be.PutUint16(d[6:], s.Destination)
		be.PutUint16(d[10:], s.Blocks)
		be.PutUint64(d[12:], uint64(s.SourceLBA))
		be.PutUint64(d[20:], uint64(s.DestinationLBA))
		b = append(b, d[:]...)
	}
	return b
}
