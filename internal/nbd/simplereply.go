package nbd

import "encoding/binary"

// SimpleReplyMagic is what a simple reply begins with.
const SimpleReplyMagic = 0x67446698

// SimpleReplyLen is the length of a SimpleReply in bytes.
const SimpleReplyLen = 16

// SimpleReply is a simple reply (section "Simple reply message"). The data of a
// successful CmdRead follows it.
type SimpleReply struct {
	Err    Errno
	Cookie uint64
}

// ParseSimpleReply reads a simple reply.
func ParseSimpleReply(b []byte) (SimpleReply, error) {
	if err := checkLen("simple reply", b, SimpleReplyLen); err != nil {
		return SimpleReply{}, err
	}
	if m := binary.BigEndian.Uint32(b); m != SimpleReplyMagic {
		return SimpleReply{}, protocolErrorf("simple reply with magic %#x", m)
	}
	return SimpleReply{Err: Errno(binary.BigEndian.Uint32(b[4:])), Cookie: binary.BigEndian.Uint64(b[8:])}, nil
}

// Append appends the message to b.
func (r SimpleReply) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, SimpleReplyMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Err))
	return binary.BigEndian.AppendUint64(b, r.Cookie)
}
