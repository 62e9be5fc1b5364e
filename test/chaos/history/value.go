package history

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Value is what a block holds: 0 is zeros, else the op that wrote it and which
// of its blocks it was. No value is written by two ops, but for one that is
// sent again.
type Value uint64

// Torn is a block that holds no whole value.
const Torn Value = 1<<64 - 1

const indexBits = 16

// ValueOf is the value of the i-th block that op id writes.
func ValueOf(id int64, i int) Value { return Value(uint64(id)<<indexBits | uint64(i)) }

// String implements fmt.Stringer.
func (v Value) String() string {
	switch v {
	case 0:
		return "zeros"
	case Torn:
		return "a torn block"
	}
	return fmt.Sprintf("v%d.%d", uint64(v)>>indexBits, uint64(v)&(1<<indexBits-1))
}

var magic = [8]byte{'c', 'h', 'a', 'o', 's', 0, 0, 1}

// Fill makes b, one block, hold v.
func (v Value) Fill(b []byte) {
	if v == 0 {
		clear(b)
		return
	}
	copy(b, magic[:])
	binary.BigEndian.PutUint64(b[8:], uint64(v))
	x := uint64(v)*0x9e3779b97f4a7c15 | 1
	for at := 16; at < len(b); at += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(b[at:], x)
	}
}

// ValueIn returns what b, one block, holds. scratch is as long as b.
func ValueIn(b, scratch []byte) Value {
	var v Value
	if bytes.Equal(b[:8], magic[:]) {
		v = Value(binary.BigEndian.Uint64(b[8:]))
	}
	v.Fill(scratch)
	if v == Torn || !bytes.Equal(b, scratch) {
		return Torn
	}
	return v
}
