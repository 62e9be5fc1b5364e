package nbd

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// MaxString is the longest string of the protocol, in bytes (section
// "Conventions").
const MaxString = 4096

// CheckString returns an error unless s may go over the wire: at most 4096
// bytes of UTF-8 without NUL.
func CheckString(s string) error {
	switch {
	case len(s) > MaxString:
		return protocolErrorf("a string of %d bytes; at most %d are allowed", len(s), MaxString)
	case !utf8.ValidString(s):
		return protocolErrorf("a string that is not UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return protocolErrorf("a string with NUL")
	}
	return nil
}

// cutString takes a string with its 32-bit length off b.
func cutString(what string, b []byte) (s string, rest []byte, err error) {
	if len(b) < 4 {
		return "", nil, protocolErrorf("%s ends within the length of a string", what)
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	if n > MaxString {
		return "", nil, protocolErrorf("%s with a string of %d bytes; at most %d are allowed", what, n, MaxString)
	}
	if uint64(n) > uint64(len(b)) {
		return "", nil, protocolErrorf("%s ends within a string of %d bytes", what, n)
	}
	s = string(b[:n])
	return s, b[n:], CheckString(s)
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}
