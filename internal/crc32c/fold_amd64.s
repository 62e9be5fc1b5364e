#include "textflag.h"

// func fold(register uint32, p *byte, n int, factors *[4]uint64) uint32
TEXT ·fold(SB), NOSPLIT, $64-36
	MOVL register+0(FP), AX
	MOVQ p+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ factors+24(FP), DX

	VBROADCASTI32X4 (DX), Z8
	VBROADCASTI32X4 16(DX), Z9
	VMOVDQU64 (SI), Z0
	VMOVDQU64 64(SI), Z1
	VMOVDQU64 128(SI), Z2
	VMOVDQU64 192(SI), Z3

	// The register is added to the first bytes.
	VMOVD  AX, X4 // the rest of Z4 becomes 0
	VPXORQ Z4, Z0, Z0

loop:
	SUBQ $256, CX
	JLE  join
	ADDQ $256, SI

	VPCLMULQDQ $0x00, Z8, Z0, Z4
	VPCLMULQDQ $0x00, Z8, Z1, Z5
	VPCLMULQDQ $0x00, Z8, Z2, Z6
	VPCLMULQDQ $0x00, Z8, Z3, Z7
	VPCLMULQDQ $0x11, Z8, Z0, Z0
	VPCLMULQDQ $0x11, Z8, Z1, Z1
	VPCLMULQDQ $0x11, Z8, Z2, Z2
	VPCLMULQDQ $0x11, Z8, Z3, Z3

	// Exclusive or of three.
	VPTERNLOGQ $0x96, (SI), Z4, Z0
	VPTERNLOGQ $0x96, 64(SI), Z5, Z1
	VPTERNLOGQ $0x96, 128(SI), Z6, Z2
	VPTERNLOGQ $0x96, 192(SI), Z7, Z3
	JMP        loop

join:
	// Each of the four is added to the next.
	VPCLMULQDQ $0x00, Z9, Z0, Z4
	VPCLMULQDQ $0x11, Z9, Z0, Z0
	VPTERNLOGQ $0x96, Z0, Z4, Z1
	VPCLMULQDQ $0x00, Z9, Z1, Z4
	VPCLMULQDQ $0x11, Z9, Z1, Z1
	VPTERNLOGQ $0x96, Z1, Z4, Z2
	VPCLMULQDQ $0x00, Z9, Z2, Z4
	VPCLMULQDQ $0x11, Z9, Z2, Z2
	VPTERNLOGQ $0x96, Z2, Z4, Z3
	VMOVDQU64  Z3, rest-64(SP)
	VZEROUPPER

	// What is left has the same remainder, from a register of 0.
	XORL   AX, AX
	CRC32Q rest-64(SP), AX
	CRC32Q rest-56(SP), AX
	CRC32Q rest-48(SP), AX
	CRC32Q rest-40(SP), AX
	CRC32Q rest-32(SP), AX
	CRC32Q rest-24(SP), AX
	CRC32Q rest-16(SP), AX
	CRC32Q rest-8(SP), AX
	MOVL   AX, ret+32(FP)
	RET
