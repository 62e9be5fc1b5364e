//go:build nextversion

package wire

import "encoding/binary"

// MaxVersion is that of a program which comes after this one: test/upgrade has
// both in one cluster.
const MaxVersion Version = 2

// Version 2 has the complement of the stamp behind it, so that a link on which
// the two sides take different versions breaks.
func (t *Beat) appendLater(b []byte) []byte {
	if t.As >= MaxVersion {
		b = binary.BigEndian.AppendUint64(b, ^t.Stamp)
	}
	return b
}

func (t *Beat) readLater(r *reader, v Version) {
	switch {
	case v < MaxVersion && len(r.b) > 0:
		r.short = true
	case v >= MaxVersion && r.u64() != ^t.Stamp:
		r.short = true
	}
}
