//go:build invariants

package mem

import "bytes"

var wrong = bytes.Repeat([]byte{0xdb}, chunkSize)

func poison(b []byte) { copy(b, wrong) }
