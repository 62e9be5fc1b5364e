package vfs

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// OS is the filesystem of the machine (Linux).
type OS struct{}

var _ FS = OS{}

// Open implements FS.
func (OS) Open(name string, mode Mode) (File, error) {
	flags := unix.O_CLOEXEC
	switch mode {
	case ReadOnly:
		flags |= unix.O_RDONLY
	case ReadWrite:
		flags |= unix.O_RDWR
	case Create:
		flags |= unix.O_RDWR | unix.O_CREAT | unix.O_EXCL
	case Replace:
		flags |= unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC
	}
	fd, err := openRetry(name, flags)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := &osFile{fd: fd, name: name}
	info, err := f.Info()
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	f.device = info.Device
	return f, nil
}

func openRetry(name string, flags int) (int, error) {
	for {
		fd, err := unix.Open(name, flags, 0o600)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Mkdir implements FS.
func (OS) Mkdir(name string) error { return os.Mkdir(name, 0o700) }

// ReadDir implements FS.
func (OS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// Stat implements FS.
func (OS) Stat(name string) (Info, error) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return Info{}, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		fd, err := openRetry(name, unix.O_RDONLY|unix.O_CLOEXEC)
		if err != nil {
			return Info{}, &os.PathError{Op: "open", Path: name, Err: err}
		}
		defer unix.Close(fd)
		return (&osFile{fd: fd, name: name}).Info()
	}
	return fromStat(&st), nil
}

func fromStat(st *unix.Stat_t) Info {
	return Info{
		Size: st.Size, Allocated: st.Blocks * 512, Links: int(st.Nlink), Inode: st.Ino,
		Dir: st.Mode&unix.S_IFMT == unix.S_IFDIR, Device: st.Mode&unix.S_IFMT == unix.S_IFBLK,
	}
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Link implements FS.
func (OS) Link(from, to string) error { return os.Link(from, to) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir implements FS.
func (OS) SyncDir(name string) error {
	fd, err := openRetry(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	if err := unix.Fsync(fd); err != nil {
		return &SyncError{&os.PathError{Op: "fsync", Path: name, Err: err}}
	}
	return nil
}

// BootID implements FS.
func (OS) BootID() (id [16]byte, err error) {
	const path = "/proc/sys/kernel/random/boot_id"
	b, err := os.ReadFile(path)
	if err != nil {
		return id, err
	}
	h, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(b)), "-", ""))
	if err != nil || len(h) != len(id) {
		return id, fmt.Errorf("%s holds %q, not a boot id", path, b)
	}
	return [16]byte(h), nil
}

// Lock implements FS with flock(2), which ends with the process.
func (OS) Lock(name string) (Lock, error) {
	for {
		fd, err := openRetry(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			unix.Close(fd)
			if err == unix.EINTR {
				continue
			}
			if err == unix.EWOULDBLOCK {
				err = ErrLocked
			}
			return nil, &os.PathError{Op: "lock", Path: name, Err: err}
		}
		// Who held it may have removed the file: then this lock is on nothing.
		var held, named unix.Stat_t
		if err := unix.Fstat(fd, &held); err != nil {
			unix.Close(fd)
			return nil, &os.PathError{Op: "stat", Path: name, Err: err}
		}
		if err := unix.Stat(name, &named); err == nil && held.Ino == named.Ino && held.Dev == named.Dev {
			return &osLock{fd: fd, name: name}, nil
		}
		unix.Close(fd)
	}
}

type osLock struct {
	fd   int
	name string
}

func (l *osLock) Note(b []byte) error {
	// In place, so that a full disk neither refuses it nor takes the old bytes.
	if _, err := unix.Pwrite(l.fd, b, 0); err != nil {
		return &os.PathError{Op: "write", Path: l.name, Err: err}
	}
	if err := unix.Ftruncate(l.fd, int64(len(b))); err != nil {
		return &os.PathError{Op: "truncate", Path: l.name, Err: err}
	}
	return nil
}

func (l *osLock) Close() error {
	fd := l.fd
	l.fd = -1
	if fd < 0 {
		return syscall.EBADF
	}
	return unix.Close(fd)
}
