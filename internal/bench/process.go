package bench

import (
	"syscall"
	"time"
)

// cpuTime returns the processor time that this process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// napLimit is how much of a wait is slept by nap, which nothing interrupts:
// the runtime's timers are late by up to a millisecond where nothing else runs.
const napLimit = 2 * time.Millisecond

// nap sleeps for d to some 50 µs, at most napLimit.
func nap(d time.Duration) {
	if d > 0 {
		ts := syscall.NsecToTimespec(int64(min(d, napLimit)))
		_ = syscall.Nanosleep(&ts, nil) // the caller looks at the clock: a signal cuts it short
	}
}
