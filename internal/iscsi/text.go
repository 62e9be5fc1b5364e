package iscsi

import (
	"bytes"
	"strings"
)

// MaxKeyName is the longest key name, in bytes (RFC 7143 §6.1).
const MaxKeyName = 63

// MaxValue is the longest value of a key that does not say otherwise, in
// bytes (RFC 7143 §6.1).
const MaxValue = 255

// Pair is one key=value of a text data segment.
type Pair struct{ Key, Value string }

// Keys is the content of a text data segment, in order.
type Keys []Pair

// ParseText reads a complete text data segment (RFC 7143 §6.1): pairs that end
// with a NUL each. Empty ones, which some initiators pad with, are passed
// over. The same key may occur more than once here; Negotiation refuses that.
func ParseText(b []byte) (Keys, error) {
	var keys Keys
	for len(b) > 0 {
		end := bytes.IndexByte(b, 0)
		if end < 0 {
			return nil, protocolErrorf(RejectProtocol, "text ends without a NUL after %q", clip(string(b)))
		}
		pair := b[:end]
		b = b[end+1:]
		if len(pair) == 0 {
			continue
		}
		key, value, ok := bytes.Cut(pair, []byte{'='})
		if !ok {
			return nil, protocolErrorf(RejectProtocol, "text %q is not of the form key=value", clip(string(pair)))
		}
		if err := checkKeyName(key); err != nil {
			return nil, err
		}
		keys = append(keys, Pair{string(key), string(value)})
	}
	return keys, nil
}

// checkKeyName accepts the key-name of RFC 7143 §6.1: a capital letter, then
// letters, digits and . - + @ _, and # for the registered extension keys. One
// key of the standard itself starts with a small letter.
func checkKeyName(k []byte) error {
	if len(k) == 0 || len(k) > MaxKeyName {
		return protocolErrorf(RejectProtocol, "a key name of %d bytes, want 1 to %d", len(k), MaxKeyName)
	}
	if (k[0] < 'A' || k[0] > 'Z') && string(k) != KeyProtocolLevel {
		return protocolErrorf(RejectProtocol, "key name %q does not start with a capital letter", k)
	}
	for _, c := range k {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte(".-+@_#", c) >= 0:
		default:
			return protocolErrorf(RejectProtocol, "key name %q holds byte %#02x", k, c)
		}
	}
	return nil
}

// Append appends the wire form of k to b.
func (k Keys) Append(b []byte) []byte {
	for _, p := range k {
		b = append(b, p.Key...)
		b = append(b, '=')
		b = append(b, p.Value...)
		b = append(b, 0)
	}
	return b
}

// Get returns the value of the first pair named key.
func (k Keys) Get(key string) (string, bool) {
	for _, p := range k {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// add appends a pair.
func (k *Keys) add(key, value string) { *k = append(*k, Pair{key, value}) }

// clip shortens what goes into a message.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
