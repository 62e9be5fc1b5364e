package attach

import (
	"log/slog"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepareProcess makes the process fit to serve a disk of its own machine, and
// reports whether its memory is locked. Memory may only become free once a dirty
// page was written through this very process, so it must not wait for memory
// itself:
//
//   - PR_SET_IO_FLUSHER: when the process allocates, the kernel neither starts
//     I/O nor waits for it to make room, and does not throttle it for the dirty
//     pages of others. Without it the disk can stand still for good under memory
//     pressure. It is a property of each thread, and new threads have it from
//     the thread that makes them.
//   - mlockall: nothing of the process is paged out, code included: to bring a
//     page of the program back may need the very disk that it serves. What
//     matters is the program's text, the heap with the buffers in flight, and
//     the stacks. MCL_FUTURE covers what is mapped later.
//
// Both are best effort: a process without the rights serves with a warning.
func prepareProcess(log *slog.Logger) (locked bool) {
	if flusher() {
		// Set before this program began: see Exec.
	} else if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0, 0); e != 0 {
		log.Warn("the process can't be marked as one that frees memory (needs CAP_SYS_RESOURCE): the disk may stand still when memory is short", "err", e)
	}
	// With a limit, memory that is mapped later could not be had at all, and the
	// process would die.
	none := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &none); err != nil {
		var now unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &now) != nil || now.Cur != unix.RLIM_INFINITY {
			log.Warn("the memory of the process is not locked: the limit of locked memory can't be lifted; the disk may stand still when memory is short", "err", err)
			return false
		}
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE); err != nil {
		log.Warn("the memory of the process is not locked; the disk may stand still when memory is short", "err", err)
		return false
	}
	return true
}

// flusher reports whether this thread is marked. Threads that were made before
// the mark are not; there are none after Exec.
func flusher() bool {
	on, err := unix.PrctlRetInt(unix.PR_GET_IO_FLUSHER, 0, 0, 0, 0)
	return err == nil && on == 1
}

// Exec marks the process as PR_SET_IO_FLUSHER says and starts its program
// anew, which then has the mark in all its threads: Go can't set it in those of
// a program with C code. It does nothing where the process is marked or may not
// be, and returns if it fails. To be called before anything is begun.
func Exec() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if flusher() || unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0) != nil {
		return
	}
	if exe, err := os.Executable(); err == nil {
		_ = syscall.Exec(exe, os.Args, os.Environ()) // on failure prepareProcess tells
	}
	_ = unix.Prctl(unix.PR_SET_IO_FLUSHER, 0, 0, 0, 0)
}
