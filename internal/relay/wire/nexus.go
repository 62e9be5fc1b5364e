package wire

import (
	"encoding/binary"

	"sango/internal/san"
)

// Handle names an I_T_L nexus on a link.
type Handle uint32

// NexusOpen makes an I_T_L nexus of the front known to the owner: what one
// nexus has to do with one volume. LUN map and rights are the front's business.
type NexusOpen struct {
	Handle   Handle
	Fresh    bool // it logged in just now, or begins anew; else it was there before this owner
	Doubt    bool // unless it holds a RESERVE(6) by the record, it is to be told of its loss
	LUN      san.LUN
	Nexus    san.NexusID
	Volume   san.UUID
	Epoch    san.Epoch    // under which the front takes the owner for one
	Instance san.Instance // docs/fence.md; zero: none
	Login    uint64       // tells it from others of its name; 0: not known
}

// Append appends the frame.
func (o *NexusOpen) Append(b []byte) []byte {
	return frame(b, TypeNexusOpen, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, uint32(o.Handle))
		b = append(b, openFlag(o.Fresh, openFresh)|openFlag(o.Doubt, openDoubt))
		b = binary.BigEndian.AppendUint16(b, uint16(o.LUN))
		b = append(b, o.Nexus.Initiator.ISID[:]...)
		b = binary.BigEndian.AppendUint16(b, uint16(o.Nexus.Target.TPG))
		b = append(b, o.Volume[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(o.Epoch))
		b = o.Instance.Append(b)
		b = appendText(b, o.Nexus.Initiator.Name, maxName)
		b = appendText(b, o.Nexus.Target.Name, maxName)
		return binary.BigEndian.AppendUint64(b, o.Login)
	})
}

// Flags of NexusOpen.
const (
	openFresh = 1
	openDoubt = 2
)

func openFlag(on bool, flag byte) byte {
	if on {
		return flag
	}
	return 0
}

// ParseNexusOpen reads a body.
func ParseNexusOpen(b []byte) (o NexusOpen, err error) {
	r := reader{b: b}
	o.Handle = Handle(r.u32())
	flags := r.u8()
	o.Fresh, o.Doubt = flags&openFresh != 0, flags&openDoubt != 0
	o.LUN = san.LUN(r.u16())
	o.Nexus.Initiator.ISID = san.ISID(r.take(6))
	o.Nexus.Target.TPG = san.TPG(r.u16())
	o.Volume = san.UUID(r.take(16))
	o.Epoch = san.Epoch(r.u64())
	o.Instance, _ = san.ParseInstance(r.take(san.InstanceLen))
	o.Nexus.Initiator.Name, o.Nexus.Target.Name = r.text(maxName), r.text(maxName)
	if len(r.b) > 0 { // else the front is of an earlier version
		o.Login = r.u64()
	}
	return o, r.err(TypeNexusOpen)
}

// NexusOpened answers NexusOpen, when nothing is left of an earlier I_T_L nexus
// of the same name and volume.
type NexusOpened struct {
	Handle   Handle
	Reason   Reason // ReasonNone: it is open
	Commands uint32 // that it may have outstanding
	Bytes    uint64 // of them (Command.Cost)
	Text     string
}

// Append appends the frame.
func (o *NexusOpened) Append(b []byte) []byte {
	return frame(b, TypeNexusOpened, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, uint32(o.Handle))
		b = binary.BigEndian.AppendUint16(b, uint16(o.Reason))
		b = binary.BigEndian.AppendUint32(b, o.Commands)
		b = binary.BigEndian.AppendUint64(b, o.Bytes)
		return appendText(b, o.Text, maxText)
	})
}

// ParseNexusOpened reads a body.
func ParseNexusOpened(b []byte) (o NexusOpened, err error) {
	r := reader{b: b}
	o.Handle, o.Reason, o.Commands, o.Bytes = Handle(r.u32()), Reason(r.u16()), r.u32(), r.u64()
	o.Text = r.text(maxText)
	return o, r.err(TypeNexusOpened)
}

// NexusClose ends a nexus. Nothing else of the handle follows.
type NexusClose struct{ Handle Handle }

// Append appends the frame.
func (c *NexusClose) Append(b []byte) []byte { return appendHandle(b, TypeNexusClose, c.Handle) }

// ParseNexusClose reads a body.
func ParseNexusClose(b []byte) (NexusClose, error) {
	h, err := parseHandle(b, TypeNexusClose)
	return NexusClose{h}, err
}

// NexusClosed answers NexusClose, when the tasks of the nexus have ended. The
// handle may be used anew.
type NexusClosed struct{ Handle Handle }

// Append appends the frame.
func (c *NexusClosed) Append(b []byte) []byte { return appendHandle(b, TypeNexusClosed, c.Handle) }

// ParseNexusClosed reads a body.
func ParseNexusClosed(b []byte) (NexusClosed, error) {
	h, err := parseHandle(b, TypeNexusClosed)
	return NexusClosed{h}, err
}

// Synced tells that the front has opened every I_T_L nexus that it has for the
// volume: of one that it has not opened nothing is left.
type Synced struct {
	Volume san.UUID
	Epoch  san.Epoch
}

// Append appends the frame.
func (s *Synced) Append(b []byte) []byte {
	return frame(b, TypeSynced, func(b []byte) []byte {
		return binary.BigEndian.AppendUint64(append(b, s.Volume[:]...), uint64(s.Epoch))
	})
}

// ParseSynced reads a body.
func ParseSynced(b []byte) (s Synced, err error) {
	r := reader{b: b}
	s.Volume = san.UUID(r.take(16))
	s.Epoch = san.Epoch(r.u64())
	return s, r.err(TypeSynced)
}

func appendHandle(b []byte, t Type, h Handle) []byte {
	return frame(b, t, func(b []byte) []byte { return binary.BigEndian.AppendUint32(b, uint32(h)) })
}

func parseHandle(b []byte, t Type) (Handle, error) {
	r := reader{b: b}
	h := Handle(r.u32())
	return h, r.err(t)
}
