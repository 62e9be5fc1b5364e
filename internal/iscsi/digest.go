package iscsi

import (
	"encoding/binary"

	"sango/internal/crc32c"
)

// DigestLen is the length of a header or data digest, in bytes.
const DigestLen = 4

// Digest returns the CRC32C of b (RFC 7143 §13.1).
func Digest(b []byte) uint32 { return crc32c.Update(0, b) }

// UpdateDigest returns the digest of what crc covers followed by b. A digest
// starts from 0.
func UpdateDigest(crc uint32, b []byte) uint32 { return crc32c.Update(crc, b) }

// PadDigest returns the digest of what crc covers followed by the padding of
// n bytes of data: a data digest covers the padding.
func PadDigest(crc uint32, n int) uint32 {
	return crc32c.Update(crc, padding[:Pad(n)])
}

// padding is what PadDigest covers: a local array would be garbage each time.
var padding [3]byte

// PutDigest writes crc as it goes on the wire to the first DigestLen bytes of
// b.
func PutDigest(b []byte, crc uint32) { binary.LittleEndian.PutUint32(b, crc) }

// GetDigest reads a digest from the first DigestLen bytes of b.
func GetDigest(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
