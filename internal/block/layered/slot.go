package layered

import (
	"fmt"
	"hash/crc32"
	"sync"

	"sango/internal/block/layered/vfs"
)

const (
	slotName   = "atomic"
	slotMagic  = "SANGOATM"
	slotHeader = 4096    // bytes before the data
	atomicMax  = 1 << 20 // bytes: the largest atomic write
)

// slot is the volume's double-write slot. An atomic write goes there first,
// with its checksum, and is stable there before the first byte changes in
// place; once it is stable in place the slot is emptied, stable as well. What
// is found in the slot at open is written again. It is emptied before the
// write is answered, so that it never overwrites what came later.
type slot struct {
	mu sync.Mutex
	f  vfs.File
}

// createSlot makes the file, empty and stable but for its name.
func createSlot(fsys vfs.FS, dir string) error {
	f, err := fsys.Open(dir+"/"+slotName, vfs.Replace)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (s *slot) open(v *volume) (err error) {
	s.f, err = v.fs.Open(v.dir+"/"+slotName, vfs.ReadWrite)
	return err
}

func (s *slot) close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}

// slotHead encodes the header: magic, crc32c of the header, crc32c of the
// data, offset, length.
func slotHead(off int64, data uint32, n int64) []byte {
	h := make([]byte, slotHeader)
	copy(h, slotMagic)
	le.PutUint32(h[12:], data)
	le.PutUint64(h[16:], uint64(off))
	le.PutUint64(h[24:], uint64(n))
	le.PutUint32(h[8:], crc32.Checksum(h[:32], castagnoli))
	return h
}

// read returns the write that the slot holds; nil if none that is whole.
func (s *slot) read() (data []byte, off int64, err error) {
	info, err := s.f.Info()
	if err != nil || info.Size <= slotHeader {
		return nil, 0, err
	}
	h := make([]byte, 32)
	if err := s.f.ReadVec([][]byte{h}, 0); err != nil {
		return nil, 0, err
	}
	sum := le.Uint32(h[8:])
	le.PutUint32(h[8:], 0)
	n := le.Uint64(h[24:])
	if string(h[:8]) != slotMagic || crc32.Checksum(h, castagnoli) != sum || n > atomicMax {
		return nil, 0, nil
	}
	data = make([]byte, n)
	if err := s.f.ReadVec([][]byte{data}, slotHeader); err != nil {
		return nil, 0, err
	}
	if crc32.Checksum(data, castagnoli) != le.Uint32(h[12:]) {
		return nil, 0, nil
	}
	return data, int64(le.Uint64(h[16:])), nil
}

func (s *slot) clear() error {
	if err := s.f.WriteVec([][]byte{zeros[:512]}, 0); err != nil {
		return err
	}
	return s.f.Sync()
}

// replay does again what the slot holds.
func (s *slot) replay(v *volume) error {
	data, off, err := s.read()
	if err != nil {
		return err
	}
	if data == nil {
		// A dead process may have emptied it without making that stable.
		return s.f.Sync()
	}
	n := int64(len(data))
	if off < 0 || off > v.live.size-n {
		return fmt.Errorf("atomic write slot of volume %s %w: it holds a write past the end", v.id, errDamaged)
	}
	v.s.log.Info("finishing an atomic write that was cut short", "volume", v.id, "offset", off, "length", n)
	if err := v.write([][]byte{data}, off, n); err != nil {
		return err
	}
	if err := v.flush(v.live.chain[0]); err != nil {
		return err
	}
	return s.clear()
}

// writeAtomic stores vec (n bytes) at off, all or nothing, and stable. Space
// for it is found before anything changes. The gate is held shared.
func (v *volume) writeAtomic(vec [][]byte, off, n int64) error {
	s := &v.slot
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := v.populate(off, n); err != nil {
		return err
	}
	if err := v.reserve(slotHeader + n); err != nil {
		return err
	}
	sum := uint32(0)
	for _, b := range vec {
		sum = crc32.Update(sum, castagnoli, b)
	}
	full := make([][]byte, 0, len(vec)+1)
	full = append(append(full, slotHead(off, sum, n)), vec...)
	if err := s.f.WriteVec(full, 0); err != nil {
		return s.abandon(v, err)
	}
	if err := s.f.Sync(); err != nil {
		return err
	}
	// From here on the write happens, now or when the volume is opened next.
	err := v.write(vec, off, n)
	if err == nil {
		err = v.flush(v.live.chain[0])
	}
	if err == nil {
		err = s.clear()
	}
	if err != nil {
		return &vfs.SyncError{Err: err}
	}
	return nil
}

// logReserve is what an atomic write keeps free in the log for its mark, and
// for the records that other writes may append meanwhile, in bytes.
const logReserve = 64 << 10

// reserve finds space for n bytes of the slot and for the mark that ends an
// atomic write: once the slot is stable there is no way back.
func (v *volume) reserve(n int64) error {
	if err := v.slot.f.Allocate(0, n); err != nil && !isUnsupported(err) {
		return err
	}
	if top := v.live.chain[0]; top.idx != nil {
		if err := top.idx.log.reserve(logReserve); err != nil && !isUnsupported(err) {
			return err
		}
	}
	return nil
}

// abandon empties the slot after a write to it failed.
func (s *slot) abandon(v *volume, cause error) error {
	if err := s.clear(); err != nil {
		return &vfs.SyncError{Err: fmt.Errorf("%w; and the slot of atomic writes could not be emptied: %w", cause, err)}
	}
	return cause
}
