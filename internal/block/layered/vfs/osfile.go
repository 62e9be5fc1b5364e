package vfs

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxVec is the kernel's limit on the length of an I/O vector (IOV_MAX).
const maxVec = 1024

type osFile struct {
	fd     int
	name   string
	device bool
}

func (f *osFile) fail(op string, err error) error {
	return &os.PathError{Op: op, Path: f.name, Err: err}
}

// advance drops n bytes from the front of vec. It copies the headers it has
// to change, because the vector is the caller's.
func advance(vec [][]byte, n int) [][]byte {
	for len(vec) > 0 && n >= len(vec[0]) {
		n -= len(vec[0])
		vec = vec[1:]
	}
	if n > 0 {
		rest := make([][]byte, len(vec))
		copy(rest, vec)
		rest[0] = rest[0][n:]
		vec = rest
	}
	return vec
}

func head(vec [][]byte) ([][]byte, int) {
	vec = vec[:min(len(vec), maxVec)]
	n := 0
	for _, b := range vec {
		n += len(b)
	}
	return vec, n
}

func (f *osFile) ReadVec(vec [][]byte, off int64) error {
	for len(vec) > 0 {
		part, want := head(vec)
		n, err := unix.Preadv2(f.fd, part, off, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return f.fail("read", err)
		case n == want:
			vec = vec[len(part):]
		case n == 0: // past the end
			for _, b := range vec {
				clear(b)
			}
			return nil
		default:
			vec = advance(vec, n)
		}
		off += int64(n)
	}
	return nil
}

func (f *osFile) TryReadVec(vec [][]byte, off int64) error {
	for len(vec) > 0 {
		part, want := head(vec)
		n, err := unix.Preadv2(f.fd, part, off, unix.RWF_NOWAIT)
		switch {
		case err == unix.EAGAIN || err == unix.EOPNOTSUPP || err == unix.EINTR:
			return ErrWouldBlock
		case err != nil:
			return f.fail("read", err)
		case n < want:
			return ErrWouldBlock
		}
		vec = vec[len(part):]
		off += int64(n)
	}
	return nil
}

func (f *osFile) WriteVec(vec [][]byte, off int64) error {
	return f.write(vec, off, 0)
}

func (f *osFile) write(vec [][]byte, off int64, flags int) error {
	for len(vec) > 0 {
		part, want := head(vec)
		n, err := unix.Pwritev2(f.fd, part, off, flags)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return f.fail("write", err)
		case n == want:
			vec = vec[len(part):]
		case n == 0:
			return f.fail("write", unix.ENOSPC)
		default:
			vec = advance(vec, n)
		}
		off += int64(n)
	}
	return nil
}

// WriteVecSync writes with RWF_DSYNC. The kernel doesn't tell whether the
// write or the sync failed, and reports a writeback error only once: so the
// write is repeated without the flag, and if that succeeds it was the sync.
func (f *osFile) WriteVecSync(vec [][]byte, off int64) error {
	err := f.write(vec, off, unix.RWF_DSYNC)
	if err == nil {
		return nil
	}
	if again := f.write(vec, off, 0); again != nil {
		return again
	}
	return &SyncError{err}
}

func (f *osFile) Sync() error {
	for {
		switch err := unix.Fdatasync(f.fd); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &SyncError{f.fail("fdatasync", err)}
		}
	}
}

func (f *osFile) Truncate(size int64) error {
	if f.device {
		return f.fail("truncate", unix.EOPNOTSUPP)
	}
	if err := unix.Ftruncate(f.fd, size); err != nil {
		return f.fail("truncate", err)
	}
	return nil
}

func (f *osFile) fallocate(op string, mode uint32, off, n int64) error {
	for {
		switch err := unix.Fallocate(f.fd, mode, off, n); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return f.fail(op, err)
		}
	}
}

// writeBack writes what is dirty in the range, and waits. The kernel drops that
// before it deallocates or zeroes, and where it fails then, as ext4 may on a
// full disk, the range holds again what was written back last: writes that were
// acknowledged since are undone. An error is one of a sync, because the next
// fdatasync would not tell it again.
func (f *osFile) writeBack(off, n int64) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	for {
		switch err := unix.SyncFileRange(f.fd, off, n, all); err {
		case nil:
			return nil
		case unix.EINTR:
		default:
			return &SyncError{f.fail("sync_file_range", err)}
		}
	}
}

// Punch implements File. On a block device the kernel turns the hole into
// WRITE ZEROES with unmap, which, unlike BLKDISCARD, promises zeros; where the
// device has neither, BLKZEROOUT writes them.
func (f *osFile) Punch(off, n int64) error {
	if err := f.writeBack(off, n); err != nil {
		return err
	}
	err := f.fallocate("punch hole", unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if err != nil && f.device {
		return f.zeroOut(off, n)
	}
	return err
}

// Zero implements File.
func (f *osFile) Zero(off, n int64) error {
	if err := f.writeBack(off, n); err != nil {
		return err
	}
	if f.device {
		return f.zeroOut(off, n)
	}
	return f.fallocate("zero range", unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, n)
}

// zeroOut is the ioctl BLKZEROOUT (linux/fs.h): uint64 start, length.
func (f *osFile) zeroOut(off, n int64) error {
	span := [2]uint64{uint64(off), uint64(n)}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd), unix.BLKZEROOUT, uintptr(unsafe.Pointer(&span))); e != 0 {
		return f.fail("BLKZEROOUT", e)
	}
	return nil
}

func (f *osFile) Allocate(off, n int64) error {
	if f.device {
		return nil
	}
	return f.fallocate("allocate", unix.FALLOC_FL_KEEP_SIZE, off, n)
}

func (f *osFile) NextData(off int64) (int64, error) { return f.seek(off, unix.SEEK_DATA) }
func (f *osFile) NextHole(off int64) (int64, error) { return f.seek(off, unix.SEEK_HOLE) }

func (f *osFile) seek(off int64, whence int) (int64, error) {
	if f.device { // all of it counts as data
		info, err := f.Info()
		if err != nil {
			return 0, err
		}
		if whence == unix.SEEK_DATA {
			return min(off, info.Size), nil
		}
		return info.Size, nil
	}
	at, err := unix.Seek(f.fd, off, whence)
	if err == unix.ENXIO { // nothing more of it
		info, err := f.Info()
		return max(off, info.Size), err
	}
	if err != nil {
		return 0, f.fail("seek", err)
	}
	return at, nil
}

func (f *osFile) CloneFrom(off int64, src File, srcOff, n int64) error {
	from, ok := src.(*osFile)
	if !ok {
		return ErrUnsupported
	}
	r := unix.FileCloneRange{Src_fd: int64(from.fd), Src_offset: uint64(srcOff), Src_length: uint64(n), Dest_offset: uint64(off)}
	switch err := unix.IoctlFileCloneRange(f.fd, &r); err {
	case nil:
		return nil
	case unix.EOPNOTSUPP, unix.ENOTTY, unix.EXDEV, unix.EINVAL, unix.ETXTBSY, unix.ENOSYS:
		return ErrUnsupported
	default:
		return f.fail("clone range", err)
	}
}

func (f *osFile) Info() (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return Info{}, f.fail("stat", err)
	}
	info := fromStat(&st)
	if info.Device {
		var size uint64
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(f.fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size))); e != 0 {
			return info, f.fail("BLKGETSIZE64", e)
		}
		info.Size, info.Allocated = int64(size), int64(size)
	}
	return info, nil
}

func (f *osFile) Close() error {
	fd := f.fd
	f.fd = -1
	if fd < 0 {
		return nil
	}
	if err := unix.Close(fd); err != nil {
		return f.fail("close", err)
	}
	return nil
}
