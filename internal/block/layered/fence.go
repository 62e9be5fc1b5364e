package layered

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/block/layered/vfs"
)

const (
	// fenceWait bounds how long a killed holder may take to go: one whose thread
	// hangs in the kernel (a dead disk) goes when that ends.
	fenceWait = 30 * time.Second
	lockRetry = 5 * time.Millisecond
)

// self describes this process as a lock's holder.
func self(boot [16]byte) (holder, error) {
	start, err := startTime(os.Getpid())
	return holder{boot: boot, pid: uint32(os.Getpid()), start: start}, err
}

// startTime returns when a process started: field 22 of /proc/PID/stat
// (proc_pid_stat(5)), in clock ticks after boot. The name in field 2 may hold
// anything, so fields count from the last parenthesis.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields after the name, want 20", pid, len(f))
	}
	return strconv.ParseUint(string(f[19]), 10, 64)
}

// killHolder kills the process h, waits until it is gone, and takes its lock.
// The pidfd is opened before the start time is compared, so that the signal
// can reach no other process than the one compared.
func (s *Store) killHolder(dir string, h holder) (vfs.Lock, error) {
	if h.pid == s.self.pid && h.start == s.self.start {
		return nil, fmt.Errorf("%w by this very process: close it first", ErrInUse)
	}
	if h.boot != s.boot {
		return nil, fmt.Errorf("%w by a process of another boot: this store is shared between machines, which needs another fence", ErrInUse)
	}
	fd, err := unix.PidfdOpen(int(h.pid), 0)
	if err == nil {
		defer unix.Close(fd)
		if start, serr := startTime(int(h.pid)); serr == nil && start == h.start {
			s.log.Warn("fencing a volume: killing the process that holds it", "dir", dir, "pid", h.pid)
			if err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err == nil {
				err = waitExit(fd)
			}
		}
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("fence process %d, which holds %s: %w", h.pid, dir, err)
	}
	for deadline := time.Now().Add(fenceWait); ; time.Sleep(lockRetry) {
		l, err := s.fs.Lock(dir + "/" + lockName)
		if !errors.Is(err, vfs.ErrLocked) || time.Now().After(deadline) {
			return l, err
		}
	}
}

// waitExit waits until the process of a pidfd has ended.
func waitExit(fd int) error {
	for deadline := time.Now().Add(fenceWait); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("it is still there %s after SIGKILL", fenceWait)
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, int(left.Milliseconds())+1)
		if err != nil && err != unix.EINTR {
			return err
		}
		if n > 0 {
			return nil
		}
	}
}
