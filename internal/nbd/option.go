package nbd

import (
	"encoding/binary"
	"fmt"
)

// Option is what a client asks for during the handshake (NBD_OPT_*).
type Option uint32

// The options.
const (
	OptExportName      Option = 1
	OptAbort           Option = 2
	OptList            Option = 3
	OptPeekExport      Option = 4 // withdrawn
	OptStartTLS        Option = 5
	OptInfo            Option = 6
	OptGo              Option = 7
	OptStructuredReply Option = 8
	OptListMetaContext Option = 9
	OptSetMetaContext  Option = 10
	OptExtendedHeaders Option = 11
)

var optionNames = map[Option]string{
	OptExportName: "EXPORT_NAME", OptAbort: "ABORT", OptList: "LIST", OptPeekExport: "PEEK_EXPORT", OptStartTLS: "STARTTLS",
	OptInfo: "INFO", OptGo: "GO", OptStructuredReply: "STRUCTURED_REPLY", OptListMetaContext: "LIST_META_CONTEXT",
	OptSetMetaContext: "SET_META_CONTEXT", OptExtendedHeaders: "EXTENDED_HEADERS",
}

// String returns the name of the option in the protocol, without prefix.
func (o Option) String() string {
	if s, ok := optionNames[o]; ok {
		return s
	}
	return fmt.Sprintf("option %d", uint32(o))
}

// OptionHeaderLen is the length of an OptionHeader in bytes.
const OptionHeaderLen = 16

// OptionHeader goes before the data of an option (section "Fixed newstyle
// negotiation").
type OptionHeader struct {
	Option Option
	Length uint32 // bytes of data that follow
}

// ParseOptionHeader reads the header of an option.
func ParseOptionHeader(b []byte) (OptionHeader, error) {
	if err := checkLen("option header", b, OptionHeaderLen); err != nil {
		return OptionHeader{}, err
	}
	if m := binary.BigEndian.Uint64(b); m != optionMagic {
		return OptionHeader{}, protocolErrorf("option with magic %#x", m)
	}
	return OptionHeader{Option: Option(binary.BigEndian.Uint32(b[8:])), Length: binary.BigEndian.Uint32(b[12:])}, nil
}

// Append appends the message to b.
func (h OptionHeader) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, optionMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(h.Option))
	return binary.BigEndian.AppendUint32(b, h.Length)
}
