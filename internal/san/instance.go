package san

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// InstanceLen is the length of an encoded Instance, in bytes.
const InstanceLen = 20

// Instance names one login of an initiator that fences its own sessions
// (docs/fence.md). The zero value names none.
type Instance struct {
	// Group is what fences together: one attachment of a volume, across
	// restarts of the process that serves it. Random, never 0.
	Group uint64
	// Run counts the processes that served the group: a later one has a higher
	// number.
	Run uint64
	// Login counts the logins of the run.
	Login uint32
}

// IsZero reports whether i names nothing.
func (i Instance) IsZero() bool { return i == Instance{} }

// Append appends the InstanceLen bytes of i, big-endian: group, run, login.
func (i Instance) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, i.Group)
	b = binary.BigEndian.AppendUint64(b, i.Run)
	return binary.BigEndian.AppendUint32(b, i.Login)
}

// ParseInstance decodes what Append wrote.
func ParseInstance(b []byte) (Instance, error) {
	if len(b) != InstanceLen {
		return Instance{}, fmt.Errorf("instance of %d bytes, want %d", len(b), InstanceLen)
	}
	return Instance{
		Group: binary.BigEndian.Uint64(b),
		Run:   binary.BigEndian.Uint64(b[8:]),
		Login: binary.BigEndian.Uint32(b[16:]),
	}, nil
}

// String returns the 40 hexadecimal digits of i.
func (i Instance) String() string { return hex.EncodeToString(i.Append(nil)) }
