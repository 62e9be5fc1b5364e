package layered

import (
	"errors"
	"fmt"
	"hash/crc32"

	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

const lockName = "lock"

// holder is what the lock file says about the process that holds it, and the
// last epoch under which the volume was open.
type holder struct {
	boot  [16]byte
	pid   uint32
	start uint64 // of the process, in clock ticks after boot: a pid alone may have been reused
	epoch san.Epoch
}

const (
	holderMagic = "SANGOLCK"
	holderSize  = 56 // bytes
)

func (h holder) encode() []byte {
	b := make([]byte, holderSize)
	copy(b, holderMagic)
	le.PutUint32(b[12:], h.pid)
	copy(b[16:], h.boot[:])
	le.PutUint64(b[32:], h.start)
	le.PutUint64(b[40:], uint64(h.epoch))
	le.PutUint32(b[8:], crc32.Checksum(b, castagnoli))
	return b
}

// parseHolder returns false for anything that is not the whole of it: the file
// is written in place, and its reader does not hold the lock.
func parseHolder(b []byte) (h holder, ok bool) {
	if len(b) != holderSize || string(b[:8]) != holderMagic {
		return h, false
	}
	b = append([]byte(nil), b...)
	sum := le.Uint32(b[8:])
	le.PutUint32(b[8:], 0)
	if crc32.Checksum(b, castagnoli) != sum {
		return h, false
	}
	h.pid, h.start, h.epoch = le.Uint32(b[12:]), le.Uint64(b[32:]), san.Epoch(le.Uint64(b[40:]))
	copy(h.boot[:], b[16:])
	return h, true
}

// lockVolume takes the volume's lock under the given epoch. With fence set it
// kills the process that holds it (DESIGN R2); a holder of a later epoch is
// never touched.
func (s *Store) lockVolume(dir string, epoch san.Epoch, fence bool) (vfs.Lock, error) {
	l, err := s.fs.Lock(dir + "/" + lockName)
	if errors.Is(err, vfs.ErrLocked) {
		h, ok := s.readHolder(dir)
		switch {
		case ok && epoch != 0 && h.epoch > epoch:
			return nil, fmt.Errorf("%w: epoch %d, asked for %d", ErrFenced, h.epoch, epoch)
		case !fence && ok:
			return nil, fmt.Errorf("%w by process %d: close it there first", ErrInUse, h.pid)
		case !fence || !ok:
			return nil, fmt.Errorf("%w by another process: close it there first", ErrInUse)
		}
		l, err = s.killHolder(dir, h)
	}
	if err != nil {
		return nil, err
	}
	if err := s.sign(dir, l, epoch); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// sign enters this process and the epoch in the lock file, whose lock it holds.
func (s *Store) sign(dir string, l vfs.Lock, epoch san.Epoch) error {
	h, _ := s.readHolder(dir)
	if epoch != 0 && h.epoch > epoch {
		return fmt.Errorf("%w: epoch %d, asked for %d", ErrFenced, h.epoch, epoch)
	}
	me := s.self
	me.epoch = max(epoch, h.epoch)
	return l.Note(me.encode())
}

// claim puts a loaded volume under the given epoch.
func (s *Store) claim(v *volume, epoch san.Epoch) error {
	if epoch == 0 {
		return nil
	}
	return s.sign(v.dir, v.lock, epoch)
}

func (s *Store) readHolder(dir string) (holder, bool) {
	b, err := vfs.ReadFile(s.fs, dir+"/"+lockName, 4096)
	if err != nil {
		return holder{}, false
	}
	return parseHolder(b)
}
