package bench

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync/atomic"

	"sango/internal/block"
)

// The header of a block that tells what it is, little-endian: magic, offset,
// generation, run, checksum. What follows is random, and depends on the first
// four.
const (
	magic      = 0x314b4c424f474e53 // "SNGOBLK1"
	headerSize = 40
	atOffset   = 8
	atGen      = 16
	atRun      = 24
	atSum      = 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The state of a place: the generation that was written last, and flags.
const (
	busy     = 1 << 31 // a request is under way there
	unsure   = 1 << 30 // a write failed: the old and the new may be there, block by block
	genMask  = unsure - 1
	maxFirst = 10 // messages that are kept
)

// verifier knows what a volume must hold. A place is where one request may
// go; the places do not overlap, and no two requests are at one at a time.
type verifier struct {
	off, length int64 // of the area, and of a place, bytes
	unit        int   // bytes of a logical block
	run         uint64
	places      []atomic.Uint32
}

func newVerifier(off, places, length int64, unit int, run uint64) *verifier {
	return &verifier{off: off, length: length, unit: unit, run: run, places: make([]atomic.Uint32, places)}
}

// take reserves the first free place from i on. There are twice as many as
// can be taken.
func (v *verifier) take(i int64) int64 {
	for {
		if old := v.places[i].Load(); old&busy == 0 && v.places[i].CompareAndSwap(old, old|busy) {
			return i
		}
		if i++; i == int64(len(v.places)) {
			i = 0
		}
	}
}

// leave gives place i back. wrote says that a write of generation gen was
// under way, and failed how it ended.
func (v *verifier) leave(i int64, wrote bool, gen uint32, failed bool) {
	s := v.places[i].Load() &^ busy
	if wrote {
		s = gen
		if failed {
			s |= unsure
		}
	}
	v.places[i].Store(s)
}

// next returns the generation for a write at place i, which was taken. It
// wraps after a thousand million writes to one place.
func (v *verifier) next(i int64) uint32 {
	g := v.places[i].Load()&genMask + 1
	if g >= genMask {
		g = 1
	}
	return g
}

// written reports whether this run wrote at place i.
func (v *verifier) written(i int64) bool { return v.places[i].Load()&genMask != 0 }

// fill makes b the contents of place i in generation gen.
func (v *verifier) fill(b []byte, i int64, gen uint32) {
	off := v.off + i*v.length
	for n := 0; n < len(b); n += v.unit {
		u := b[n : n+v.unit]
		at := uint64(off + int64(n))
		binary.LittleEndian.PutUint64(u, magic)
		binary.LittleEndian.PutUint64(u[atOffset:], at)
		binary.LittleEndian.PutUint64(u[atGen:], uint64(gen))
		binary.LittleEndian.PutUint64(u[atRun:], v.run)
		scramble(u[headerSize:], at^v.run^uint64(gen)<<40)
		binary.LittleEndian.PutUint64(u[atSum:], uint64(sum(u)))
	}
}

// sum is the checksum of a block without the field that holds it.
func sum(u []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, u[:atSum]), castagnoli, u[headerSize:])
}

// scramble fills b, whose length is a multiple of 8, from seed (splitmix64).
func scramble(b []byte, seed uint64) {
	for n := 0; n < len(b); n += 8 {
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(b[n:], z^z>>31)
	}
}

// check looks at b, which was read from place i while it was taken. unknown
// counts blocks that no verifying run wrote, where those are nothing wrong.
func (v *verifier) check(b []byte, i int64) (unknown int64, err error) {
	s := v.places[i].Load()
	gen := s & genMask
	off := v.off + i*v.length
	for n := 0; n < len(b); n += v.unit {
		u := b[n : n+v.unit]
		at := off + int64(n)
		if gen == 0 || s&unsure != 0 { // whatever was there before is as good
			if binary.LittleEndian.Uint64(u) != magic {
				unknown++
				continue
			}
		}
		if err := v.unitAt(u, at, gen, s&unsure != 0); err != nil {
			return unknown, err
		}
	}
	return unknown, nil
}

// unitAt looks at one block.
func (v *verifier) unitAt(u []byte, at int64, gen uint32, either bool) error {
	var (
		gotMagic = binary.LittleEndian.Uint64(u)
		gotAt    = binary.LittleEndian.Uint64(u[atOffset:])
		gotGen   = binary.LittleEndian.Uint64(u[atGen:])
		gotRun   = binary.LittleEndian.Uint64(u[atRun:])
	)
	switch {
	case gotMagic != magic:
		return fmt.Errorf("offset %d: generation %d was written, and something else is there, which begins with %x", at, gen, u[:16])
	case binary.LittleEndian.Uint64(u[atSum:]) != uint64(sum(u)):
		return fmt.Errorf("offset %d: the checksum is wrong; the block says that it is offset %d, generation %d", at, gotAt, gotGen)
	case gotAt != uint64(at):
		return fmt.Errorf("offset %d: the block of offset %d is there", at, gotAt)
	case gen == 0 || either: // any run's block of this place is as good
		return nil
	case gotRun != v.run:
		return fmt.Errorf("offset %d: generation %d was written, and a block of an earlier run is there", at, gen)
	case gotGen != uint64(gen):
		return fmt.Errorf("offset %d: generation %d was written, and generation %d is there", at, gen, gotGen)
	}
	return nil
}

// readBack returns a run's function that picks places to read again, one
// after the other, all that were written.
func (v *verifier) readBack() func() (int64, bool) {
	var at atomic.Int64
	return func() (int64, bool) {
		for {
			i := at.Add(1) - 1
			if i >= int64(len(v.places)) {
				return 0, false
			}
			if v.written(i) {
				return v.take(i), true
			}
		}
	}
}

// opOf returns the operation for a direction.
func opOf(write bool) block.Op {
	if write {
		return block.OpWrite
	}
	return block.OpRead
}
