package iscsi

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The answers that are not values (RFC 7143 §6.2).
const (
	ValueReject        = "Reject"
	ValueIrrelevant    = "Irrelevant"
	ValueNotUnderstood = "NotUnderstood"
	ValueNone          = "None"
	ValueYes           = "Yes"
	ValueNo            = "No"
)

// reserved reports whether v is an answer and can't be an offer.
func reserved(v string) bool {
	return v == ValueReject || v == ValueIrrelevant || v == ValueNotUnderstood
}

// ErrValue is wrapped by the errors of ParseNumber, ParseBool and ParseBinary.
var ErrValue = errors.New("not a legal value")

// ParseNumber reads a numerical-value (RFC 7143 §6.1): decimal without leading
// zeros, or hex after 0x, below 2^64.
func ParseNumber(s string) (uint64, error) {
	digits, base := s, 10
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		digits, base = s[2:], 16
	} else if len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("number %q: leading zero: %w", clip(s), ErrValue)
	}
	for i := 0; i < len(digits); i++ { // ParseUint would take "+1" and "1_000"
		if !isHex(digits[i]) {
			return 0, fmt.Errorf("number %q: %w", clip(s), ErrValue)
		}
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil {
		return 0, fmt.Errorf("number %q: %w", clip(s), ErrValue)
	}
	return n, nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// ParseBool reads a boolean-value: Yes or No.
func ParseBool(s string) (bool, error) {
	switch s {
	case ValueYes:
		return true, nil
	case ValueNo:
		return false, nil
	}
	return false, fmt.Errorf("boolean %q: %w", clip(s), ErrValue)
}

// FormatBool returns Yes or No.
func FormatBool(b bool) string {
	if b {
		return ValueYes
	}
	return ValueNo
}

// ParseBinary reads a large-binary-value (RFC 7143 §6.1): hex after 0x, or
// base64 after 0b, of 1 to limit bytes. Hex with an odd number of digits has a
// zero in front.
func ParseBinary(s string, limit int) ([]byte, error) {
	if len(s) < 3 || s[0] != '0' {
		return nil, fmt.Errorf("binary value %q: want 0x or 0b in front: %w", clip(s), ErrValue)
	}
	if len(s)-2 > 2*limit+2 { // either form is at most twice as long
		return nil, fmt.Errorf("binary value of %d characters, at most %d bytes are taken: %w", len(s), limit, ErrValue)
	}
	var b []byte
	var err error
	switch digits := s[2:]; s[1] {
	case 'x', 'X':
		if len(digits)%2 != 0 {
			digits = "0" + digits
		}
		b, err = hex.DecodeString(digits)
	case 'b', 'B':
		if strings.ContainsAny(digits, "\r\n") { // the decoder would pass over them
			return nil, fmt.Errorf("binary value with a line break: %w", ErrValue)
		}
		b, err = base64.StdEncoding.Strict().DecodeString(digits)
		if err != nil { // some peers leave the padding away
			b, err = base64.RawStdEncoding.Strict().DecodeString(digits)
		}
	default:
		return nil, fmt.Errorf("binary value %q: want 0x or 0b in front: %w", clip(s), ErrValue)
	}
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("binary value %q: %w", clip(s), ErrValue)
	}
	if len(b) > limit {
		return nil, fmt.Errorf("binary value of %d bytes, at most %d are taken: %w", len(b), limit, ErrValue)
	}
	return b, nil
}

// FormatBinary returns the hex form of b.
func FormatBinary(b []byte) string { return "0x" + hex.EncodeToString(b) }

// MaxName is the longest iSCSI name, in bytes (RFC 7143 §4.2.7.1).
const MaxName = 223

// CheckName accepts what may be an iSCSI name: 1 to MaxName bytes of printable
// characters without blanks. Its type (iqn., eui., naa.) is not insisted on,
// since nothing depends on it.
func CheckName(s string) error {
	if len(s) == 0 || len(s) > MaxName {
		return fmt.Errorf("name of %d bytes, want 1 to %d: %w", len(s), MaxName, ErrValue)
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(`,="`, r) {
			return fmt.Errorf("name %q holds %q: %w", clip(s), r, ErrValue)
		}
	}
	return nil
}
