package crc32c

import (
	"hash/crc32"

	"golang.org/x/sys/cpu"
)

var wide = cpu.X86.HasAVX512F && cpu.X86.HasAVX512VPCLMULQDQ && cpu.X86.HasSSE42

// factors move 128 bits of the message on: the first pair by a stride, the other
// by the 64 bytes of a register. The first 64 of the bits are multiplied by the
// one, the last by the other. The product of two reflected polynomials is one
// bit short, hence the shift; what a factor is multiplied with is 64 bits long
// and the remainder that it is has 32, hence the ± 32.
var factors = [4]uint64{
	power(8*stride+32) << 1, power(8*stride-32) << 1,
	power(8*64+32) << 1, power(8*64-32) << 1,
}

// power returns x^n modulo the polynomial, its bits reflected.
func power(n int) uint64 {
	v := uint32(1 << 31)
	for range n {
		v = v>>1 ^ -(v&1)&crc32.Castagnoli
	}
	return uint64(v)
}

// updateWide is Update of whole strides, of which there is at least one.
func updateWide(crc uint32, p []byte) uint32 {
	return ^fold(^crc, &p[0], len(p), &factors)
}

// fold runs the n bytes at p, a multiple of stride and not 0, through the
// register.
//
//go:noescape
func fold(register uint32, p *byte, n int, factors *[4]uint64) uint32
