package nbd

import (
	"encoding/binary"
	"fmt"
)

const optionReplyMagic = 0x3e889045565a9

// ReplyType says what a reply to an option is (NBD_REP_*). Errors have the top
// bit set.
type ReplyType uint32

const replyError ReplyType = 1 << 31

// The types of replies to options.
const (
	RepAck               ReplyType = 1
	RepServer            ReplyType = 2
	RepInfo              ReplyType = 3
	RepMetaContext       ReplyType = 4
	RepErrUnsup          ReplyType = replyError + 1 // unknown option
	RepErrPolicy         ReplyType = replyError + 2 // forbidden here
	RepErrInvalid        ReplyType = replyError + 3 // malformed, or out of place
	RepErrPlatform       ReplyType = replyError + 4
	RepErrTLSReqd        ReplyType = replyError + 5
	RepErrUnknown        ReplyType = replyError + 6 // no such export
	RepErrShutdown       ReplyType = replyError + 7
	RepErrBlockSizeReqd  ReplyType = replyError + 8 // the client has to ask for InfoBlockSize
	RepErrTooBig         ReplyType = replyError + 9
	RepErrExtHeadersReqd ReplyType = replyError + 10
)

var replyNames = map[ReplyType]string{
	RepAck: "ACK", RepServer: "SERVER", RepInfo: "INFO", RepMetaContext: "META_CONTEXT", RepErrUnsup: "ERR_UNSUP",
	RepErrPolicy: "ERR_POLICY", RepErrInvalid: "ERR_INVALID", RepErrPlatform: "ERR_PLATFORM", RepErrTLSReqd: "ERR_TLS_REQD",
	RepErrUnknown: "ERR_UNKNOWN", RepErrShutdown: "ERR_SHUTDOWN", RepErrBlockSizeReqd: "ERR_BLOCK_SIZE_REQD",
	RepErrTooBig: "ERR_TOO_BIG", RepErrExtHeadersReqd: "ERR_EXT_HEADER_REQD",
}

// IsError reports whether the reply refuses the option; its data is then a
// text for people.
func (t ReplyType) IsError() bool { return t&replyError != 0 }

// String returns the name of the type in the protocol, without prefix.
func (t ReplyType) String() string {
	if s, ok := replyNames[t]; ok {
		return s
	}
	return fmt.Sprintf("reply %#x", uint32(t))
}

// OptionReplyLen is the length of an OptionReply in bytes.
const OptionReplyLen = 20

// OptionReply goes before the data of a reply to an option.
type OptionReply struct {
	Option Option
	Type   ReplyType
	Length uint32 // bytes of data that follow
}

// ParseOptionReply reads the header of a reply to an option.
func ParseOptionReply(b []byte) (OptionReply, error) {
	if err := checkLen("option reply", b, OptionReplyLen); err != nil {
		return OptionReply{}, err
	}
	if m := binary.BigEndian.Uint64(b); m != optionReplyMagic {
		return OptionReply{}, protocolErrorf("option reply with magic %#x", m)
	}
	return OptionReply{
		Option: Option(binary.BigEndian.Uint32(b[8:])),
		Type:   ReplyType(binary.BigEndian.Uint32(b[12:])),
		Length: binary.BigEndian.Uint32(b[16:]),
	}, nil
}

// Append appends the message to b.
func (r OptionReply) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, optionReplyMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Option))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Type))
	return binary.BigEndian.AppendUint32(b, r.Length)
}
