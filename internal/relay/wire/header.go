package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Type says what a frame is.
type Type uint8

// The types of frames. Front is the gateway that dialled, owner the one that was
// called.
const (
	TypeHello       Type = 1  // front: who calls whom
	TypeWelcome     Type = 2  // owner: the answer to Hello
	TypeRefused     Type = 3  // owner: the other answer; then it closes
	TypeBeat        Type = 4  // both: somebody is there; the owner's is a token
	TypeNexusOpen   Type = 8  // front
	TypeNexusOpened Type = 9  // owner: the answer to NexusOpen
	TypeNexusClose  Type = 10 // front
	TypeNexusClosed Type = 11 // owner: the answer to NexusClose
	TypeSynced      Type = 12 // front: all nexuses of a volume are open
	TypeCommand     Type = 16 // front: with the start of its data-out
	TypeDataOut     Type = 17 // front: more of that
	TypeDataIn      Type = 18 // owner: data-in but for the end of it
	TypeResponse    Type = 19 // owner: with the end of data-in
	TypeCancel      Type = 20 // front: ABORT TASK of a command
	TypeManage      Type = 24 // front: task management
	TypeManaged     Type = 25 // owner: the answer to Manage
	TypeTell        Type = 26 // owner: a unit attention, or more, for a nexus
	TypeTold        Type = 27 // front: the answer to Tell
	TypeFence       Type = 28 // front: end these instances
	TypeFenced      Type = 29 // owner: the answer to Fence
)

// String returns the name of the type.
func (t Type) String() string {
	if s, ok := names[t]; ok {
		return s
	}
	return fmt.Sprintf("frame of type %d", uint8(t))
}

var names = map[Type]string{
	TypeHello: "Hello", TypeWelcome: "Welcome", TypeRefused: "Refused", TypeBeat: "Beat",
	TypeNexusOpen: "NexusOpen", TypeNexusOpened: "NexusOpened", TypeNexusClose: "NexusClose",
	TypeNexusClosed: "NexusClosed", TypeSynced: "Synced",
	TypeCommand: "Command", TypeDataOut: "DataOut", TypeDataIn: "DataIn", TypeResponse: "Response", TypeCancel: "Cancel",
	TypeManage: "Manage", TypeManaged: "Managed", TypeTell: "Tell", TypeTold: "Told",
	TypeFence: "Fence", TypeFenced: "Fenced",
}

// The limits of a frame, in bytes.
const (
	HeaderLen = 8
	MaxBody   = 4 << 10
	MaxData   = 256 << 10 // so long can one command keep the others of a link waiting
)

// hasData tells which frames may carry data.
func (t Type) hasData() bool {
	switch t {
	case TypeCommand, TypeDataOut, TypeDataIn, TypeResponse, TypeFence:
		return true
	}
	return false
}

// Header begins each frame.
type Header struct {
	Type Type
	Body int // bytes of the body
	Data int // bytes of data behind it
}

// Put writes h to the first HeaderLen bytes of b.
func (h Header) Put(b []byte) {
	b[0], b[1] = byte(h.Type), 0
	binary.BigEndian.PutUint16(b[2:], uint16(h.Body))
	binary.BigEndian.PutUint32(b[4:], uint32(h.Data))
}

// ParseHeader reads a header, and refuses lengths that no frame of its type
// has.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, errShort
	}
	h := Header{Type: Type(b[0]), Body: int(binary.BigEndian.Uint16(b[2:])), Data: int(min(binary.BigEndian.Uint32(b[4:]), 1<<30))}
	switch {
	case h.Body > MaxBody:
		return Header{}, Errorf("a %v with a body of %d bytes, at most %d are taken", h.Type, h.Body, MaxBody)
	case h.Data > MaxData, h.Data > 0 && names[h.Type] != "" && !h.Type.hasData():
		return Header{}, Errorf("a %v with %d bytes of data", h.Type, h.Data)
	}
	return h, nil
}

// Error is a violation of the protocol by the peer. It ends the link.
type Error struct{ Text string }

// Error implements error.
func (e *Error) Error() string { return "the peer broke the relay protocol: " + e.Text }

// Errorf makes an Error.
func Errorf(format string, a ...any) error { return &Error{Text: fmt.Sprintf(format, a...)} }

var errShort = errors.New("relay: the frame is too short")

// reader takes fields off the front of a body.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || len(r.b) < n {
		r.short = true
		return zeros[:n]
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// zeros is what is read past the end of a body: as much as the longest field
// that is not a string.
var zeros [32]byte

func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) bool() bool  { return r.u8()&1 != 0 }
func (r *reader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) text(max int) string {
	n := int(r.u16())
	if n > max || n > len(r.b) {
		r.short = true
		return ""
	}
	return string(r.take2(n))
}

// take2 is take of what is known to be there.
func (r *reader) take2(n int) []byte {
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) err(t Type) error {
	if r.short {
		return Errorf("a %v is cut short, or has a string that is too long", t)
	}
	return nil
}

// frame appends a header for a body that put appends, without data.
func frame(b []byte, t Type, put func([]byte) []byte) []byte {
	at := len(b)
	b = put(append(b, make([]byte, HeaderLen)...))
	Header{Type: t, Body: len(b) - at - HeaderLen}.Put(b[at:])
	return b
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendText(b []byte, s string, max int) []byte {
	s = s[:min(len(s), max)]
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// The longest strings, in bytes: iSCSI names (RFC 7143 §4.2.7), and others.
const (
	maxName = 223
	maxText = 1024
)
