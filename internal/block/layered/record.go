package layered

import (
	"encoding/binary"
	"hash/crc32"
)

var le = binary.LittleEndian

// recordSize is the size of a record of the allocation log, in bytes.
const recordSize = 24

type recordType uint8

const (
	recPresent recordType = iota + 1 // clusters [a, a+b) live in this layer
	recZeroed                        // clusters [a, a+b) read as zeros
	recMark                          // all that lies before offset a of the log is on stable storage
	recBoot                          // what follows is written in boot (a, b)
)

// record is one entry of the log's tail. Its checksum covers the log's salt
// and the offset too, so that bytes of another log, of a former generation or
// from elsewhere never pass for a record here.
type record struct {
	typ  recordType
	a, b uint64
}

func (r record) encode(p []byte, salt uint64, off int64) {
	clear(p[:8])
	p[0] = byte(r.typ)
	le.PutUint64(p[8:], r.a)
	le.PutUint64(p[16:], r.b)
	le.PutUint32(p[4:], recordSum(p, salt, off))
}

func recordSum(p []byte, salt uint64, off int64) uint32 {
	var seed [20]byte
	le.PutUint64(seed[0:], salt)
	le.PutUint64(seed[8:], uint64(off))
	copy(seed[16:], p[:4])
	return crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, p[8:recordSize])
}

func decodeRecord(p []byte, salt uint64, off int64) (record, bool) {
	r := record{recordType(p[0]), le.Uint64(p[8:]), le.Uint64(p[16:])}
	ok := p[1]|p[2]|p[3] == 0 && r.typ >= recPresent && r.typ <= recBoot && le.Uint32(p[4:]) == recordSum(p, salt, off)
	return r, ok
}
