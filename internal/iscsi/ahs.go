package iscsi

// AHSType is the type of an additional header segment (RFC 7143 §11.2.2.1).
type AHSType uint8

// The types.
const (
	AHSExtendedCDB  AHSType = 1 // the CDB's bytes from the 17th on
	AHSBidiExpected AHSType = 2 // expected bidirectional read data length
)

// AHS is one additional header segment. Sango serves neither type: a target
// reads them so that it can refuse what came with them properly.
type AHS struct {
	Type     AHSType
	Specific byte   // the AHS-specific byte
	Data     []byte // the rest without padding; aliases what was parsed
}

// NextAHS reads the first segment of b, all additional headers of a PDU, and
// returns what follows it. Errors are of a segment that is longer than b or
// than its type allows.
func NextAHS(b []byte) (a AHS, rest []byte, err error) {
	if len(b) < 4 {
		return AHS{}, nil, protocolErrorf(RejectInvalidField, "%d bytes of additional header are too few for a segment", len(b))
	}
	// The length counts from the specific byte on (RFC 7143 §11.2.2.2).
	n := int(b[0])<<8 | int(b[1])
	if n == 0 || 3+n > len(b) {
		return AHS{}, nil, protocolErrorf(RejectInvalidField, "an additional header of length %d in %d bytes", n, len(b))
	}
	a = AHS{Type: AHSType(b[2] & 0x3f), Specific: b[3], Data: b[4 : 3+n]}
	if a.Type == AHSBidiExpected && n != 5 {
		return AHS{}, nil, protocolErrorf(RejectInvalidField, "a bidirectional length header of length %d, want 5", n)
	}
	end := 3 + n + Pad(3+n)
	if end > len(b) {
		return AHS{}, nil, protocolErrorf(RejectInvalidField, "an additional header lacks its padding")
	}
	return a, b[end:], nil
}

// AppendAHS appends the wire form of a, padded, to b. Data must be shorter
// than MaxAHS.
func AppendAHS(b []byte, a AHS) []byte {
	n := 1 + len(a.Data)
	b = append(b, byte(n>>8), byte(n), byte(a.Type), a.Specific)
	b = append(b, a.Data...)
	return append(b, make([]byte, Pad(3+n))...)
}
