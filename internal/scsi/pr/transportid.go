package pr

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"sango/internal/san"
	"sango/internal/scsi"
)

// ErrTransportID is wrapped by the errors of ParseTransportID.
var ErrTransportID = errors.New("invalid TransportID")

// MaxName is the length of the longest iSCSI name, in bytes (RFC 7143 §4.2.7.1).
const MaxName = 223

// TransportID names an iSCSI initiator port (SPC-4 §7.6.4.6). Without an ISID
// it names every port of the initiator.
type TransportID struct {
	Name    string
	ISID    san.ISID
	HasISID bool
}

// IDOf returns the TransportID of port p.
func IDOf(p san.InitiatorPort) TransportID {
	return TransportID{Name: p.Name, ISID: p.ISID, HasISID: true}
}

// Matches reports whether t names p.
func (t *TransportID) Matches(p san.InitiatorPort) bool {
	return t.Name == p.Name && (!t.HasISID || t.ISID == p.ISID)
}

const (
	transportHeader = 4
	minTransportID  = 24
	isidSeparator   = ",i,0x"
	formatDevice    = 0 // iSCSI name only
	formatPort      = 1 // iSCSI name, separator and ISID
)

// Append appends t in format 01b where it has an ISID, else in format 00b.
func (t *TransportID) Append(b []byte) []byte {
	start := len(b)
	format := byte(formatDevice)
	if t.HasISID {
		format = formatPort
	}
	b = append(b, format<<6|scsi.ProtocolISCSI, 0, 0, 0)
	b = append(b, t.Name...)
	if t.HasISID {
		b = append(b, isidSeparator...)
		b = hex.AppendEncode(b, t.ISID[:])
	}
	b = append(b, 0)
	for n := len(b) - start; n%4 != 0 || n < minTransportID; n++ {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start-transportHeader))
	return b
}

// ParseTransportID reads the TransportID at the start of b. It returns the
// number of bytes that it takes.
func ParseTransportID(b []byte) (TransportID, int, error) {
	bad := func(why string, args ...any) (TransportID, int, error) {
		return TransportID{}, 0, fmt.Errorf("%w: %s", ErrTransportID, fmt.Sprintf(why, args...))
	}
	if len(b) < minTransportID {
		return bad("%d bytes, want at least %d", len(b), minTransportID)
	}
	if p := b[0] & 0x0f; p != scsi.ProtocolISCSI {
		return bad("protocol identifier %d is not iSCSI", p)
	}
	n := transportHeader + int(binary.BigEndian.Uint16(b[2:]))
	if n < minTransportID || n%4 != 0 || n > len(b) {
		return bad("%d bytes, of %d that are left", n, len(b))
	}
	text, pad, ok := strings.Cut(string(b[transportHeader:n]), "\x00")
	if !ok || strings.Trim(pad, "\x00") != "" {
		return bad("the name is not ended by NULs")
	}
	t := TransportID{Name: text}
	switch format := b[0] >> 6; format {
	case formatDevice:
	case formatPort:
		name, isid, ok := strings.Cut(text, isidSeparator)
		if !ok || len(isid) != 2*len(t.ISID) {
			return bad("%q is not a name, %q and 12 hexadecimal digits", text, isidSeparator)
		}
		if _, err := hex.Decode(t.ISID[:], []byte(isid)); err != nil {
			return bad("ISID %q is not hexadecimal", isid)
		}
		t.Name, t.HasISID = name, true
	default:
		return bad("format code %d", format)
	}
	if t.Name == "" || len(t.Name) > MaxName {
		return bad("a name of %d bytes", len(t.Name))
	}
	return t, n, nil
}
