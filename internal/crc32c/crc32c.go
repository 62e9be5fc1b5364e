// Package crc32c computes the CRC32C of iSCSI's digests. The standard library
// does so with the processor's CRC instructions, 8 bytes at a time; this package
// folds 256 bytes at a time by carry-less multiplication where the processor
// has it for 64 bytes (AVX-512 and VPCLMULQDQ), and leaves the rest to the
// standard library.
package crc32c

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Update returns the CRC32C of what crc covers followed by p. A sum starts from
// 0.
func Update(crc uint32, p []byte) uint32 {
	if len(p) >= wideMin && wide {
		n := len(p) &^ (stride - 1)
		crc = updateWide(crc, p[:n])
		p = p[n:]
	}
	return crc32.Update(crc, castagnoli, p)
}

const (
	// stride is what one round folds, in bytes.
	stride = 256
	// wideMin is the length from which on folding pays.
	wideMin = 2 * stride
)
