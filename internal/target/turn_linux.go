package target

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/turns"
)

// newReaders returns the count of the readers of a server.
func newReaders() *turns.Readers {
	r := turns.NewReaders(runtime.GOMAXPROCS(0))
	r.Modest = true
	return r
}

// turn is the time of one reader between two waits.
type turn struct {
	turns.Turn
	ended time.Time
	lull  turns.Lull // ends with a long wait as well
}

// soonTime is how long a wait may take, that of a host which has only waited for
// the answer.
const soonTime = 4 * turns.SpinTime

// lullWaits is before how many waits in a row one PDU must have come at the most,
// and soon, for the reader to spin. More is a load at which the next batch is the
// larger the later it is looked for.
const lullWaits = 16

// begin notes that the reader goes on.
func (t *turn) begin(now time.Time) {
	if t.Begin(now) && now.Sub(t.ended) > soonTime {
		t.lull.End()
	}
}

// end notes that the reader waits.
func (t *turn) end(now time.Time) {
	if t.Wait() {
		t.ended = now
	}
}

// over reports whether the reader has to wait for once.
func (t *turn) over(fd uintptr, now time.Time) bool {
	return t.Over(fd, now, t.lull.Waits() < lullWaits)
}

// spin polls the socket, which was empty at the time now, for a while, if it is
// worth it. It returns what the last attempt to read did, and the time right
// before it.
func (s *socket) spin(fd uintptr, now time.Time) (n int, errno unix.Errno, at time.Time) {
	if s.turn.lull.Wait() < lullWaits {
		s.seenEmpty = now
		return 0, unix.EAGAIN, now
	}
	n, errno, s.seenEmpty, at = s.turn.Spin(fd, s.readVec, now)
	return n, errno, at
}
