// Package vecio reads and writes vectors of bytes in one system call, without
// an allocation: the wrappers of x/sys make a vector for each call, these take
// that of their caller.
package vecio

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxVec is the longest vector of one system call (IOV_MAX).
const MaxVec = 1024

// Append appends the non-empty slices of b to v, up to MaxVec in all, and
// returns how many bytes they hold. Who keeps the vector for the next call
// clears it after this one: it holds on to the memory.
func Append(v []unix.Iovec, b [][]byte) ([]unix.Iovec, int) {
	total := 0
	for _, p := range b {
		if len(p) == 0 {
			continue
		}
		if len(v) == MaxVec {
			break
		}
		e := unix.Iovec{Base: &p[0]}
		e.SetLen(len(p))
		v = append(v, e)
		total += len(p)
	}
	return v, total
}

// Read is readv(2). An empty vector is EINVAL.
func Read(fd uintptr, v []unix.Iovec) (int, syscall.Errno) { return call(unix.SYS_READV, fd, v) }

// Write is writev(2). An empty vector is EINVAL.
func Write(fd uintptr, v []unix.Iovec) (int, syscall.Errno) { return call(unix.SYS_WRITEV, fd, v) }

// call is a Syscall and not a RawSyscall: copying a megabyte takes long enough
// to be worth a scheduler's notice.
func call(trap, fd uintptr, v []unix.Iovec) (int, syscall.Errno) {
	if len(v) == 0 {
		return 0, unix.EINVAL
	}
	for {
		n, _, errno := unix.Syscall(trap, fd, uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)))
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
