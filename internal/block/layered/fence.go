package layered

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

const (
	// fenceWait bounds what has no context: one whose thread hangs in the kernel
	// (a dead disk) goes when that ends.
	fenceWait = 30 * time.Second
	// exitPoll is how often the wait for a process's end looks at its context.
	exitPoll = 50 * time.Millisecond
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

// lives reports whether the process is there, in this boot.
func (h holder) lives() bool {
	start, err := startTime(int(h.pid))
	return err == nil && start == h.start
}

// errOther ends a fence: somebody else than its member holds the volume.
var errOther = errors.New("another member holds it")

// Fence returns nil when nothing of a member can reach the volume any more
// (DESIGN R2): nobody has it open, or somebody else does, who is left alone. A
// process of this machine that holds it for the member is killed; in this very
// process the member is waited for until ctx is done. ErrInUse where the
// member is on another machine: it can't be fenced from here.
//
// What the member opens afterwards, because it does not know yet that it is
// over, the next owner's open shuts out: it has a higher epoch.
func (s *Store) Fence(ctx context.Context, id san.UUID, member uint64) error {
	if err := s.fence(ctx, s.volumeDir(id), member); err != nil {
		return fmt.Errorf("fence member %d of volume %s: %w", member, id, err)
	}
	return nil
}

func (s *Store) fence(ctx context.Context, dir string, member uint64) error {
	if member == 0 {
		return fmt.Errorf("%w: no member is named", ErrSpec)
	}
	l, err := s.contend(ctx, dir, func(r *rival) (kill bool, err error) {
		switch {
		case r.doubtful(), r.place == unsigned:
			return false, nil
		case r.member != member:
			return false, errOther
		case r.place == elsewhere:
			return false, fmt.Errorf("%w by %s: fence it there, by the command that the configuration can name, or wait until its right has run out", ErrInUse, r)
		}
		return r.place == beside, nil
	})
	switch {
	case err == nil:
		return s.unlock(dir, l)
	case errors.Is(err, errOther):
		return nil
	case errors.Is(err, vfs.ErrNotExist): // there is no such volume, if there is a store
		_, err = s.fs.Stat(s.dir + "/" + volumesName)
	}
	return err
}

// kill kills the process h, and waits until it is gone. The pidfd is opened
// before the start time is compared, so that the signal can reach no other
// process than the one compared.
func (s *Store) kill(ctx context.Context, dir string, h holder) error {
	fd, err := unix.PidfdOpen(int(h.pid), 0)
	if err == nil {
		defer unix.Close(fd)
		if h.lives() {
			s.log.Warn("fencing a volume: killing the process that holds it", "dir", dir, "pid", h.pid, "member", h.member, "epoch", h.epoch)
			if err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err == nil {
				err = waitExit(ctx, fd)
			}
		}
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("fence process %d, which holds %s: %w", h.pid, dir, err)
	}
	return nil
}

// waitExit waits until the process of a pidfd has ended.
func waitExit(ctx context.Context, fd int) error {
	for ctx.Err() == nil {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, int(exitPoll.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return err
		}
		if n > 0 {
			return nil
		}
	}
	return fmt.Errorf("it is still there after SIGKILL: %w", context.Cause(ctx))
}
