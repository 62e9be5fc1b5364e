package turns

import (
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/vecio"
)

// Short is how long a reader goes on without a wait, Long how long while
// processors are to spare: they look for what the sockets of others have.
const (
	Short = 200 * time.Microsecond
	Long  = 2 * time.Millisecond
)

// stolenTime is how long an attempt to read can't take: somebody else got the
// processor, and needs it more.
const stolenTime = 20 * time.Microsecond

// Turn is the time between two waits of a reader of a TCP connection. Its
// methods are for use in the function of syscall.RawConn.Read, and now is the
// time when that was called.
type Turn struct {
	Reader
	began time.Time
}

// Turn returns that of a reader that waits.
func (r *Readers) Turn() Turn { return Turn{Reader: r.Reader()} }

// Begin notes that the reader goes on, and reports whether it has waited.
func (t *Turn) Begin(now time.Time) bool {
	waited := t.Wake()
	if waited {
		t.began = now
	}
	return waited
}

// Over reports whether the reader has gone on for so long that it has to wait
// for once, although something may be there to read, for the sake of others.
// The kernel reports it anew then, at once if so. A reader that is busy has no
// long turns.
func (t *Turn) Over(fd uintptr, now time.Time, busy bool) bool {
	d := now.Sub(t.began)
	return d > Short && (busy || d > Long || t.of.crowded()) && renew(fd)
}

// Spin polls a socket that was empty at the time now for a while, if the reader
// may spin. It returns what the last attempt to read into v did, the last time
// at which the socket was empty, and the time right before that attempt.
func (t *Turn) Spin(fd uintptr, v []unix.Iovec, now time.Time) (n int, errno unix.Errno, empty, at time.Time) {
	if !t.MaySpin() {
		return 0, unix.EAGAIN, now, now
	}
	for end := now.Add(SpinTime); t.room(); {
		empty, now = now, time.Now()
		if n, errno = vecio.Read(fd, v); errno != unix.EAGAIN {
			t.Spun(true)
			return n, errno, empty, now
		}
		if now.After(end) || now.Sub(empty) > stolenTime {
			t.Spun(false)
			break
		}
	}
	return 0, unix.EAGAIN, now, now
}
