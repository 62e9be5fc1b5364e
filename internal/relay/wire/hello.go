package wire

import (
	"encoding/binary"

	"sango/internal/san"
)

// Version is a version of the protocol.
type Version uint16

// MinVersion is the oldest version that this program speaks. Two that meet use
// the newest that both know.
const MinVersion Version = 1

// Agree returns the version that a peer with the range [lo, hi] and this
// program speak.
func Agree(lo, hi Version) (Version, bool) { return agree(lo, hi, MinVersion, MaxVersion) }

func agree(lo, hi, ourLo, ourHi Version) (Version, bool) {
	v := min(hi, ourHi)
	return v, v >= max(lo, ourLo) && lo <= hi
}

// magic begins a Hello, so that whoever connects by mistake is told from a peer.
const magic = "SANGORLY"

// Member names a gateway and its start.
type Member struct {
	Name        string
	Incarnation uint64
}

// Hello is the first frame of a link. What it holds never changes its place,
// whatever the version.
type Hello struct {
	Min, Max Version
	Cluster  san.UUID
	From, To Member
	Line     uint16 // which of the links between the two
}

// Append appends the frame.
func (h *Hello) Append(b []byte) []byte {
	return frame(b, TypeHello, func(b []byte) []byte {
		b = append(b, magic...)
		b = binary.BigEndian.AppendUint16(b, uint16(h.Min))
		b = binary.BigEndian.AppendUint16(b, uint16(h.Max))
		b = append(b, h.Cluster[:]...)
		b = binary.BigEndian.AppendUint64(b, h.From.Incarnation)
		b = binary.BigEndian.AppendUint64(b, h.To.Incarnation)
		b = binary.BigEndian.AppendUint16(b, h.Line)
		b = appendText(b, h.From.Name, maxName)
		return appendText(b, h.To.Name, maxName)
	})
}

// ParseHello reads a body.
func ParseHello(b []byte) (h Hello, err error) {
	r := reader{b: b}
	if string(r.take(len(magic))) != magic {
		return h, Errorf("this is no gateway of ours")
	}
	h.Min, h.Max = Version(r.u16()), Version(r.u16())
	h.Cluster = san.UUID(r.take(16))
	h.From.Incarnation, h.To.Incarnation, h.Line = r.u64(), r.u64(), r.u16()
	h.From.Name, h.To.Name = r.text(maxName), r.text(maxName)
	return h, r.err(TypeHello)
}

// Welcome answers a Hello.
type Welcome struct {
	Version  Version
	MaxAge   uint32 // milliseconds: an older token is refused
	Stamp    uint64 // as in Beat
	Commands uint32 // that the link may have outstanding; tags are lower than that and Nexuses together
	Bytes    uint64 // of them (Command.Cost)
	Nexuses  uint32 // that may be open; handles are lower
}

// Append appends the frame.
func (w *Welcome) Append(b []byte) []byte {
	return frame(b, TypeWelcome, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint16(b, uint16(w.Version))
		b = binary.BigEndian.AppendUint32(b, w.MaxAge)
		b = binary.BigEndian.AppendUint64(b, w.Stamp)
		b = binary.BigEndian.AppendUint32(b, w.Commands)
		b = binary.BigEndian.AppendUint64(b, w.Bytes)
		return binary.BigEndian.AppendUint32(b, w.Nexuses)
	})
}

// ParseWelcome reads a body.
func ParseWelcome(b []byte) (w Welcome, err error) {
	r := reader{b: b}
	w.Version, w.MaxAge, w.Stamp = Version(r.u16()), r.u32(), r.u64()
	w.Commands, w.Bytes, w.Nexuses = r.u32(), r.u64(), r.u32()
	return w, r.err(TypeWelcome)
}

// Reason says why something was refused.
type Reason uint16

// The reasons.
const (
	ReasonNone    Reason = 0
	ReasonCluster Reason = 1 // another cluster
	ReasonGone    Reason = 2 // Hello: it is not the member that is meant, or the caller is over
	ReasonVersion Reason = 3 // no version in common
	ReasonBusy    Reason = 4 // a limit; try again
	ReasonPort    Reason = 5 // NexusOpen: the target port is not the caller's
	ReasonFenced  Reason = 6 // NexusOpen: the instance was fenced
	ReasonUnknown Reason = 7 // Hello: the caller is not known (yet); NexusOpen: the target or host is not; try again
	ReasonEnds    Reason = 8 // the gateway ends
	ReasonMoved   Reason = 9 // NexusOpen: not the owner under that epoch
)

// Refused answers a Hello. Its place in the protocol never changes.
type Refused struct {
	Reason Reason
	Text   string
}

// Append appends the frame.
func (f *Refused) Append(b []byte) []byte {
	return frame(b, TypeRefused, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint16(b, uint16(f.Reason))
		return appendText(b, f.Text, maxText)
	})
}

// ParseRefused reads a body.
func ParseRefused(b []byte) (f Refused, err error) {
	r := reader{b: b}
	f.Reason = Reason(r.u16())
	f.Text = r.text(maxText)
	return f, r.err(TypeRefused)
}

// Beat tells that its sender is there. The owner's is the token of DESIGN R4 c.
type Beat struct {
	Stamp uint64 // microseconds of the sender's monotonic clock
	// As is the version that the link speaks, for Append.
	As Version
}

// Append appends the frame.
func (t *Beat) Append(b []byte) []byte {
	return frame(b, TypeBeat, func(b []byte) []byte { return t.appendLater(binary.BigEndian.AppendUint64(b, t.Stamp)) })
}

// ParseBeat reads a body of a link that speaks v.
func ParseBeat(b []byte, v Version) (t Beat, err error) {
	r := reader{b: b}
	t.Stamp = r.u64()
	t.readLater(&r, v)
	return t, r.err(TypeBeat)
}
