package gateway

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"sango/internal/san"
)

// lockName is the file whose lock says that a process serves the directory.
const lockName = "sango.lock"

// Lock is the right to use a node's directory. The kernel gives it up when the
// process dies, however it dies.
type Lock struct{ f *os.File }

// errInUse is what errors are that say that another process has the lock.
var errInUse = errors.New("directory in use")

type inUse struct{ error }

func (e *inUse) Is(target error) bool { return target == errInUse }

func (e *inUse) Unwrap() error { return e.error }

// TakeLock makes dir where there is none and takes its lock. ErrRefused:
// another process has it.
func TakeLock(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, san.Errorf(san.ErrRefused, "directory %s can't be made: %v; choose another with --dir, or fix its permissions", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, san.Errorf(san.ErrRefused, "directory %s is not writable: %v; choose another with --dir, or fix its permissions", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		text, _ := io.ReadAll(io.LimitReader(f, maxNote))
		holder, _, _ := strings.Cut(string(text), "\n")
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock of directory %s: %w", dir, err)
		}
		return nil, &inUse{san.Errorf(san.ErrRefused, "directory %s is in use by process %s; stop that first, or choose another directory with --dir", dir, strings.TrimSpace(holder))}
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err != nil {
		f.Close()
		return nil, san.Errorf(san.ErrRefused, "directory %s is not writable: %v; make room or fix its permissions", dir, err)
	}
	return &Lock{f}, nil
}

// Release gives the directory up. Closing a lock file has nothing to lose.
func (l *Lock) Release() { _ = l.f.Close() }
