package scsi

import (
	"encoding/binary"
	"fmt"
)

// CDB is a command descriptor block, zero past the command's length (OpCode.
// CDBLen). The parsers of this package read a CDB of the family they are named
// for and never fail: whether reserved bits are zero and values are in range
// is the device server's to judge, for it alone knows what it supports.
type CDB = [16]byte

// LBA is a logical block address.
type LBA uint64

// Op returns the operation code of c.
func Op(c *CDB) OpCode { return OpCode(c[0]) }

// Action returns the SERVICE ACTION field of c, byte 1 bits 4 to 0.
func Action(c *CDB) ServiceAction { return ServiceAction(c[1] & 0x1f) }

// ControlByte returns the CONTROL byte of c, the last one of its length, and its
// position (SAM-5 §5.2). Bit 2 is NACA.
func ControlByte(c *CDB) (value byte, at uint16) {
	n := Op(c).CDBLen()
	if n == 0 {
		return 0, 0
	}
	return c[n-1], uint16(n - 1)
}

// ByteCheck is the BYTCHK field of VERIFY and WRITE AND VERIFY (SBC-3 §5.33).
type ByteCheck uint8

// What a verification compares.
const (
	VerifyMedium   ByteCheck = 0 // nothing but the medium: no data-out
	VerifyBlocks   ByteCheck = 1 // each block with the data-out buffer
	VerifyReserved ByteCheck = 2
	VerifyOneBlock ByteCheck = 3 // every block with the one block of the data-out buffer
)

// Blocks is a CDB of the families that name a range of logical blocks: READ,
// WRITE, WRITE AND VERIFY, VERIFY, ORWRITE, COMPARE AND WRITE, WRITE ATOMIC,
// WRITE SAME, PRE-FETCH and SYNCHRONIZE CACHE (SBC-3 §5). Fields that a
// command does not have are zero.
type Blocks struct {
	LBA       LBA
	Blocks    uint32    // as meant: for the 6-byte forms 0 in the CDB is 256 here
	Protect   uint8     // RDPROTECT, WRPROTECT, VRPROTECT, ORPROTECT
	DPO       bool      // disable page out
	FUA       bool      // force unit access
	ByteCheck ByteCheck // VERIFY, WRITE AND VERIFY
	Immediate bool      // IMMED of PRE-FETCH and SYNCHRONIZE CACHE
	Anchor    bool      // WRITE SAME
	Unmap     bool      // WRITE SAME
	NoData    bool      // NDOB of WRITE SAME(16)
	Boundary  uint16    // ATOMIC BOUNDARY of WRITE ATOMIC(16), in blocks
	Group     uint8     // GROUP NUMBER
	// LBAAt and BlocksAt are the first bytes of the fields in the CDB, for
	// field pointers.
	LBAAt, BlocksAt uint16
}

// blockForm says which bits of byte 1 a block command has.
type blockForm uint8

const (
	formNone blockForm = iota
	formRead           // PROTECT, DPO, FUA
	formVerify
	formSame
	formCache // IMMED
)

func formOf(op OpCode) blockForm {
	switch op {
	case OpRead10, OpRead12, OpRead16, OpWrite10, OpWrite12, OpWrite16, OpOrWrite16, OpCompareAndWrite, OpWriteAtomic16:
		return formRead
	case OpVerify10, OpVerify12, OpVerify16, OpWriteAndVerify10, OpWriteAndVerify12, OpWriteAndVerify16:
		return formVerify
	case OpWriteSame10, OpWriteSame16:
		return formSame
	case OpPreFetch10, OpPreFetch16, OpSynchronizeCache10, OpSynchronizeCache16:
		return formCache
	}
	return formNone
}

// ParseBlocks reads a CDB of one of the families of Blocks.
func ParseBlocks(c *CDB) Blocks {
	op := Op(c)
	b := Blocks{LBAAt: 2}
	switch op {
	case OpRead6, OpWrite6:
		b.LBA = LBA(uint32(c[1]&0x1f)<<16 | uint32(c[2])<<8 | uint32(c[3]))
		b.Blocks = uint32(c[4])
		if b.Blocks == 0 {
			b.Blocks = 256
		}
		b.LBAAt, b.BlocksAt = 1, 4
		return b
	case OpCompareAndWrite:
		b.LBA, b.Blocks, b.Group = LBA(binary.BigEndian.Uint64(c[2:])), uint32(c[13]), c[14]&0x3f
		b.BlocksAt = 13
	case OpWriteAtomic16:
		b.LBA, b.Group = LBA(binary.BigEndian.Uint64(c[2:])), c[14]&0x3f
		b.Boundary, b.Blocks = binary.BigEndian.Uint16(c[10:]), uint32(binary.BigEndian.Uint16(c[12:]))
		b.BlocksAt = 12
	default:
		switch op.CDBLen() {
		case 10:
			b.LBA, b.Blocks = LBA(binary.BigEndian.Uint32(c[2:])), uint32(binary.BigEndian.Uint16(c[7:]))
			b.Group, b.BlocksAt = c[6]&0x3f, 7
		case 12:
			b.LBA, b.Blocks = LBA(binary.BigEndian.Uint32(c[2:])), binary.BigEndian.Uint32(c[6:])
			b.Group, b.BlocksAt = c[10]&0x3f, 6
		case 16:
			b.LBA, b.Blocks = LBA(binary.BigEndian.Uint64(c[2:])), binary.BigEndian.Uint32(c[10:])
			b.Group, b.BlocksAt = c[14]&0x3f, 10
		}
	}
	switch formOf(op) {
	case formRead:
		b.Protect, b.DPO, b.FUA = c[1]>>5, c[1]&0x10 != 0, c[1]&0x08 != 0
	case formVerify:
		b.Protect, b.DPO, b.ByteCheck = c[1]>>5, c[1]&0x10 != 0, ByteCheck(c[1]>>1&3)
	case formSame:
		b.Protect, b.Anchor, b.Unmap = c[1]>>5, c[1]&0x10 != 0, c[1]&0x08 != 0
		b.NoData = op == OpWriteSame16 && c[1]&0x01 != 0
	case formCache:
		b.Immediate = c[1]&0x02 != 0
	}
	return b
}

// CDB returns the CDB of op for b. It fails when a value does not fit the
// form, or op is of no such family.
func (b *Blocks) CDB(op OpCode) (c CDB, err error) {
	form := formOf(op)
	c[0] = byte(op)
	maxLBA, maxBlocks := LBA(1<<64-1), uint32(1<<32-1)
	switch {
	case op == OpRead6 || op == OpWrite6:
		maxLBA, maxBlocks = 1<<21-1, 256
		if b.Blocks == 0 {
			return c, fmt.Errorf("%v: cannot move 0 blocks", op)
		}
	case form == formNone:
		return c, fmt.Errorf("%v: not a command on a range of blocks", op)
	case op == OpCompareAndWrite:
		maxBlocks = 255
	case op == OpWriteAtomic16:
		maxBlocks = 1<<16 - 1
	case op.CDBLen() == 10:
		maxLBA, maxBlocks = 1<<32-1, 1<<16-1
	case op.CDBLen() == 12:
		maxLBA = 1<<32 - 1
	}
	if b.LBA > maxLBA || b.Blocks > maxBlocks {
		return c, fmt.Errorf("%v: LBA %d, %d blocks: this form takes at most LBA %d, %d blocks", op, b.LBA, b.Blocks, maxLBA, maxBlocks)
	}
	switch form {
	case formNone: // the 6-byte forms
		c[1], c[2], c[3], c[4] = byte(b.LBA>>16), byte(b.LBA>>8), byte(b.LBA), byte(b.Blocks)
		return c, nil
	case formRead:
		c[1] = b.Protect<<5 | bit(b.DPO, 4) | bit(b.FUA, 3)
	case formVerify:
		c[1] = b.Protect<<5 | bit(b.DPO, 4) | byte(b.ByteCheck&3)<<1
	case formSame:
		c[1] = b.Protect<<5 | bit(b.Anchor, 4) | bit(b.Unmap, 3) | bit(b.NoData && op == OpWriteSame16, 0)
	case formCache:
		c[1] = bit(b.Immediate, 1)
	}
	group := b.Group & 0x3f
	switch n := op.CDBLen(); {
	case op == OpCompareAndWrite:
		binary.BigEndian.PutUint64(c[2:], uint64(b.LBA))
		c[13], c[14] = byte(b.Blocks), group
	case op == OpWriteAtomic16:
		binary.BigEndian.PutUint64(c[2:], uint64(b.LBA))
		binary.BigEndian.PutUint16(c[10:], b.Boundary)
		binary.BigEndian.PutUint16(c[12:], uint16(b.Blocks))
		c[14] = group
	case n == 10:
		binary.BigEndian.PutUint32(c[2:], uint32(b.LBA))
		binary.BigEndian.PutUint16(c[7:], uint16(b.Blocks))
		c[6] = group
	case n == 12:
		binary.BigEndian.PutUint32(c[2:], uint32(b.LBA))
		binary.BigEndian.PutUint32(c[6:], b.Blocks)
		c[10] = group
	case n == 16:
		binary.BigEndian.PutUint64(c[2:], uint64(b.LBA))
		binary.BigEndian.PutUint32(c[10:], b.Blocks)
		c[14] = group
	}
	return c, nil
}

// bit returns 1<<n where v.
func bit(v bool, n uint) byte {
	if v {
		return 1 << n
	}
	return 0
}
