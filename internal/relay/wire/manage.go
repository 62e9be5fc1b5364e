package wire

import "encoding/binary"

// Manage is a task management request of a nexus (SAM-5 §7).
type Manage struct {
	ID       uint32
	Handle   Handle
	Function uint8  // as in lun.Function
	TaskTag  uint32 // the initiator task tag meant
	// Upto leaves a tombstone: commands of the nexus up to this one are refused
	// from now on. 0: none is.
	Upto Seq
}

// Append appends the frame.
func (m *Manage) Append(b []byte) []byte {
	return frame(b, TypeManage, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, m.ID)
		b = binary.BigEndian.AppendUint32(b, uint32(m.Handle))
		b = append(b, m.Function)
		b = binary.BigEndian.AppendUint32(b, m.TaskTag)
		return binary.BigEndian.AppendUint64(b, uint64(m.Upto))
	})
}

// ParseManage reads a body.
func ParseManage(b []byte) (m Manage, err error) {
	r := reader{b: b}
	m.ID, m.Handle, m.Function = r.u32(), Handle(r.u32()), r.u8()
	m.TaskTag, m.Upto = r.u32(), Seq(r.u64())
	return m, r.err(TypeManage)
}

// Managed answers Manage.
type Managed struct {
	ID       uint32
	Outcome  Outcome // Done, or Moved: not the owner
	Response uint8   // as in lun.TMFResponse
}

// Append appends the frame.
func (m *Managed) Append(b []byte) []byte {
	return frame(b, TypeManaged, func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(b, m.ID), byte(m.Outcome), m.Response)
	})
}

// ParseManaged reads a body.
func ParseManaged(b []byte) (m Managed, err error) {
	r := reader{b: b}
	m.ID, m.Outcome, m.Response = r.u32(), Outcome(r.u8()), r.u8()
	if m.Outcome >= outcomes {
		return m, Errorf("a %v with outcome %d", TypeManaged, m.Outcome)
	}
	return m, r.err(TypeManaged)
}

// Tell is what the owner says to an I_T_L nexus at the front.
type Tell struct {
	ID     uint32
	Handle Handle
	ASC    uint16 // of a unit attention condition, code and qualifier; 0: none
	Flags  TellFlags
}

// TellFlags are bits of a Tell.
type TellFlags uint8

// The flags.
const (
	TellAbort  TellFlags = 1 << 0 // tasks that are still at the front end
	TellOnly   TellFlags = 1 << 1 // the condition is raised only if that hit one
	TellDrop   TellFlags = 1 << 2 // the session ends
	TellDSense TellFlags = 1 << 3 // the unit gives sense data in the descriptor format by now
	TellTAS    TellFlags = 1 << 4 // tasks that end so end with TASK ABORTED
)

// Append appends the frame.
func (t *Tell) Append(b []byte) []byte {
	return frame(b, TypeTell, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, t.ID)
		b = binary.BigEndian.AppendUint32(b, uint32(t.Handle))
		b = binary.BigEndian.AppendUint16(b, t.ASC)
		return append(b, byte(t.Flags))
	})
}

// ParseTell reads a body.
func ParseTell(b []byte) (t Tell, err error) {
	r := reader{b: b}
	t.ID, t.Handle, t.ASC, t.Flags = r.u32(), Handle(r.u32()), r.u16(), TellFlags(r.u8())
	return t, r.err(TypeTell)
}

// Told answers Tell: it is in effect at the front.
type Told struct{ ID uint32 }

// Append appends the frame.
func (t *Told) Append(b []byte) []byte { return appendHandle(b, TypeTold, Handle(t.ID)) }

// ParseTold reads a body.
func ParseTold(b []byte) (Told, error) {
	h, err := parseHandle(b, TypeTold)
	return Told{uint32(h)}, err
}

// Fence names instances of an initiator name that are to end (docs/fence.md).
// Its data is the parameter list of the command FENCE.
type Fence struct {
	ID        uint32
	Action    uint8 // service action
	Initiator string
}

// Append appends the frame, with list as data.
func (f *Fence) Append(b, list []byte) []byte {
	at := len(b)
	b = frame(b, TypeFence, func(b []byte) []byte {
		b = append(binary.BigEndian.AppendUint32(b, f.ID), f.Action)
		return appendText(b, f.Initiator, maxName)
	})
	Header{Type: TypeFence, Body: len(b) - at - HeaderLen, Data: len(list)}.Put(b[at:])
	return append(b, list...)
}

// ParseFence reads a body.
func ParseFence(b []byte) (f Fence, err error) {
	r := reader{b: b}
	f.ID, f.Action = r.u32(), r.u8()
	f.Initiator = r.text(maxName)
	return f, r.err(TypeFence)
}

// Fenced answers Fence, when no session of those named is left there, and no
// command of them can touch a medium through that gateway any more.
type Fenced struct {
	ID uint32
	OK bool // no: too many fences wait; ask again
}

// Append appends the frame.
func (f *Fenced) Append(b []byte) []byte {
	return frame(b, TypeFenced, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, f.ID)
		return appendBool(b, f.OK)
	})
}

// ParseFenced reads a body.
func ParseFenced(b []byte) (f Fenced, err error) {
	r := reader{b: b}
	f.ID, f.OK = r.u32(), r.bool()
	return f, r.err(TypeFenced)
}
