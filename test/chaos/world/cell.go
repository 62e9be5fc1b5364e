package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// cellEnv marks the process that is in the cell.
const cellEnv = "CHAOS_CELL"

// InCell reports whether this process is in a cell.
func InCell() bool { return os.Getenv(cellEnv) != "" }

// RunInCell runs this program again as the first process of process and mount
// namespaces of its own, and returns its exit status. When that process ends,
// however it does, all that it started is killed. dir holds the disks; one that
// is stuck then is freed, since nobody who waits for it can be killed.
func RunInCell(dir string) (int, error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("this needs root: it makes network namespaces, devices and mounts")
	}
	runtime.LockOSThread() // the mounts are this thread's, and the child dies with it
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return 1, fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 1, fmt.Errorf("mount namespace: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 1, err
	}
	defer r.Close()
	self, err := os.Executable()
	if err != nil {
		return 1, errors.Join(err, w.Close())
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), cellEnv+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = cmd.Start()
	if err = errors.Join(err, w.Close()); err != nil {
		return 1, fmt.Errorf("process namespace: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })() // it may have ended
	_, _ = r.Read(make([]byte, 1))                                                     // ends when the child has
	mounts, _ := filepath.Glob(filepath.Join(dir, "*", "mount"))                       // a pattern without mistakes
	for _, m := range mounts {
		_ = thaw(m) // an error is that it was not frozen
	}
	err = cmd.Wait()
	if _, gone := os.Readlink("/proc/self"); gone != nil {
		_ = unix.Unmount("/proc", unix.MNT_DETACH) // it was the child's
	}
	for _, m := range mounts {
		_ = unix.Unmount(m, unix.MNT_DETACH) // an error is that it was not mounted any more
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// EnterCell completes the cell in the process that is in it, and returns the
// directory that RunInCell was given.
func EnterCell() (string, error) {
	unix.CloseOnExec(3) // what RunInCell waits for
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return "", fmt.Errorf("/proc: %w", err)
	}
	return os.Getenv(cellEnv), nil
}
