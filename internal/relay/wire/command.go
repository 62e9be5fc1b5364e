package wire

import (
	"encoding/binary"
)

// Tag names a command on a link from Command to Response.
type Tag uint32

// Seq numbers the commands of a nexus; it only grows.
type Seq uint64

// Command is one SCSI command. The data of its frame is the start of its
// data-out.
type Command struct {
	Handle   Handle
	Tag      Tag
	Seq      Seq
	Token    uint64 // the Stamp of the owner's last Beat before the last of the command, data-out included, arrived at the front
	CDB      [16]byte
	TaskTag  uint32 // the initiator task tag
	Expected uint32 // bytes the host expects to move
	Out      uint32 // bytes of data-out, in this frame and the DataOut frames that follow
	Attr     uint8  // task attribute
	Flags    CommandFlags
	Ask      uint8 // what is asked, as in lun.Ask; 0: its execution
}

// CommandFlags are bits of a Command.
type CommandFlags uint8

// The flags.
const (
	FlagRead  CommandFlags = 1 << 0 // the host expects data-in
	FlagWrite CommandFlags = 1 << 1 // the host offers data-out
)

// CommandLen is the length of the body, in bytes.
const CommandLen = 4 + 4 + 8 + 8 + 16 + 4 + 4 + 4 + 1 + 1 + 1 + 1

// costMax bounds the data-in that is counted: a host may expect 4 GiB of a
// command that returns 36 bytes.
const costMax = 32 << 20

// Cost returns what the command takes of the credit in bytes: memory at the
// owner.
func (c *Command) Cost() int64 {
	n := int64(c.Out)
	if c.Flags&FlagRead != 0 {
		n += int64(min(c.Expected, costMax))
	}
	return n
}

// Put writes header and body of a frame with data bytes of data to b, which
// has HeaderLen+CommandLen bytes.
func (c *Command) Put(b []byte, data int) {
	Header{Type: TypeCommand, Body: CommandLen, Data: data}.Put(b)
	b = b[HeaderLen:]
	e := binary.BigEndian
	e.PutUint32(b, uint32(c.Handle))
	e.PutUint32(b[4:], uint32(c.Tag))
	e.PutUint64(b[8:], uint64(c.Seq))
	e.PutUint64(b[16:], c.Token)
	copy(b[24:], c.CDB[:])
	e.PutUint32(b[40:], c.TaskTag)
	e.PutUint32(b[44:], c.Expected)
	e.PutUint32(b[48:], c.Out)
	b[52], b[53], b[54], b[55] = c.Attr, byte(c.Flags), c.Ask, 0
}

// ParseCommand reads a body.
func ParseCommand(b []byte) (c Command, err error) {
	if len(b) < CommandLen {
		return c, Errorf("a %v is cut short", TypeCommand)
	}
	e := binary.BigEndian
	c.Handle, c.Tag, c.Seq = Handle(e.Uint32(b)), Tag(e.Uint32(b[4:])), Seq(e.Uint64(b[8:]))
	c.Token, c.CDB = e.Uint64(b[16:]), [16]byte(b[24:40])
	c.TaskTag, c.Expected, c.Out = e.Uint32(b[40:]), e.Uint32(b[44:]), e.Uint32(b[48:])
	c.Attr, c.Flags, c.Ask = b[52], CommandFlags(b[53]), b[54]
	return c, nil
}

// Data is the body of DataOut and DataIn: the data is that of the command, in
// order.
type Data struct{ Tag Tag }

// DataLen is the length of the body, in bytes.
const DataLen = 4

// Put writes header and body of a frame of type t with data bytes of data to
// b, which has HeaderLen+DataLen bytes.
func (d Data) Put(b []byte, t Type, data int) {
	Header{Type: t, Body: DataLen, Data: data}.Put(b)
	binary.BigEndian.PutUint32(b[HeaderLen:], uint32(d.Tag))
}

// ParseData reads a body.
func ParseData(b []byte) (Data, error) {
	if len(b) < DataLen {
		return Data{}, Errorf("a frame of data is cut short")
	}
	return Data{Tag(binary.BigEndian.Uint32(b))}, nil
}

// Outcome says how a command ended.
type Outcome uint8

// The outcomes.
const (
	Done    Outcome = 0 // with the status
	Aborted Outcome = 1 // by task management, or nexus loss; it can't touch the medium any more
	Moved   Outcome = 2 // not executed: not the owner under that epoch
	Stale   Outcome = 3 // not executed: the token was too old

	outcomes = 4
)

// Response ends a command. The data of its frame is the end of data-in.
type Response struct {
	Tag     Tag
	Outcome Outcome
	Status  uint8
	// DSense: the unit gives sense data in the descriptor format by now.
	DSense bool
	Want   uint64 // bytes the command would have moved if Expected were no limit
	In     uint32 // bytes of data-in, in the DataIn frames before and in this
	Sense  []byte // at most MaxSense bytes
}

// ResponseLen is the length of the body without sense data, MaxSense the
// longest sense data, in bytes.
const (
	ResponseLen = 4 + 1 + 1 + 1 + 1 + 8 + 4
	MaxSense    = 252
)

// Len returns the length of header and body.
func (r *Response) Len() int { return HeaderLen + ResponseLen + min(len(r.Sense), MaxSense) }

// Put writes header and body of a frame with data bytes of data to b, which
// has Len bytes.
func (r *Response) Put(b []byte, data int) {
	sense := r.Sense[:min(len(r.Sense), MaxSense)]
	Header{Type: TypeResponse, Body: ResponseLen + len(sense), Data: data}.Put(b)
	b = b[HeaderLen:]
	e := binary.BigEndian
	e.PutUint32(b, uint32(r.Tag))
	b[4], b[5] = byte(r.Outcome), r.Status
	b[6], b[7] = 0, byte(len(sense))
	if r.DSense {
		b[6] = 1
	}
	e.PutUint64(b[8:], r.Want)
	e.PutUint32(b[16:], r.In)
	copy(b[ResponseLen:], sense)
}

// ParseResponse reads a body. Sense is part of b.
func ParseResponse(b []byte) (r Response, err error) {
	if len(b) < ResponseLen {
		return r, Errorf("a %v is cut short", TypeResponse)
	}
	e := binary.BigEndian
	r.Tag, r.Outcome, r.Status, r.Want, r.In = Tag(e.Uint32(b)), Outcome(b[4]), b[5], e.Uint64(b[8:]), e.Uint32(b[16:])
	r.DSense = b[6]&1 != 0
	n := int(b[7])
	if n > MaxSense || len(b) < ResponseLen+n {
		return r, Errorf("a %v with %d bytes of sense data", TypeResponse, n)
	}
	if r.Outcome >= outcomes {
		return r, Errorf("a %v with outcome %d", TypeResponse, r.Outcome)
	}
	r.Sense = b[ResponseLen : ResponseLen+n]
	return r, nil
}

// Cancel aborts a command, or has it end soon. Its Response follows, however it
// ended.
type Cancel struct {
	Tag Tag
	// Hasten: it is not aborted, but ends soon, since its LUN is gone at the front.
	Hasten bool
}

// Append appends the frame.
func (c *Cancel) Append(b []byte) []byte {
	return frame(b, TypeCancel, func(b []byte) []byte {
		return appendBool(binary.BigEndian.AppendUint32(b, uint32(c.Tag)), c.Hasten)
	})
}

// ParseCancel reads a body.
func ParseCancel(b []byte) (c Cancel, err error) {
	r := reader{b: b}
	c.Tag, c.Hasten = Tag(r.u32()), r.bool()
	return c, r.err(TypeCancel)
}
