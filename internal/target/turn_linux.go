package target

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/vecio"
)

// turns decide how the readers of a server share the processors. They count
// the readers that do not wait.
type turns struct {
	awake atomic.Int32
	spare int32 // readers that may be awake while one spins
}

func newTurns() *turns {
	n := runtime.GOMAXPROCS(0)
	if n == 1 {
		return &turns{} // who spins would keep everybody else away
	}
	return &turns{spare: int32(max(1, n/4))}
}

// turn is the time of one reader between two waits.
type turn struct {
	of     *turns
	began  time.Time
	ended  time.Time
	waits  bool // it waits, or has just done so
	misses uint // spins in vain since the last one that was not
	skip   int  // waits to go without a spin
	pdus   int  // that came since nothing was there to read
	lull   int  // how often in a row those were one or none, and came soon
}

// turnTime is how long a reader goes on without a wait. Go's scheduler looks
// for sockets that became ready only when it has nothing else to run, or every
// 10 ms: so long would other connections wait for readers that always find
// something, on as many processors as there are. One that spins, while
// processors are to spare, may go on longer: they look.
const (
	turnTime     = 200 * time.Microsecond
	longTurnTime = 2 * time.Millisecond
)

// spinTime is how long a reader polls its socket before it waits: a host that
// sends its next command when it has the answer to the last takes less, to wake
// up on both sides takes more.
const spinTime = 50 * time.Microsecond

// soonTime is how long a wait may take, that of a host which has only waited for
// the answer.
const soonTime = 4 * spinTime

// lullWaits is how many times in a row a wait must have been short, and brought
// one PDU or none, for the reader to spin. More is a load at which the next batch is
// the larger the later it is looked for.
const lullWaits = 16

// stolenTime is how long an attempt to read can't take: somebody else got the
// processor, and needs it more.
const stolenTime = 20 * time.Microsecond

// maxMisses bounds how rarely a reader spins that does so in vain: before one
// of 2^maxMisses waits.
const maxMisses = 10

// begin notes that the reader goes on.
func (t *turn) begin(now time.Time) {
	if t.waits {
		if now.Sub(t.ended) > soonTime {
			t.lull = 0
		}
		t.waits, t.began = false, now
		t.of.awake.Add(1)
	}
}

// end notes that the reader waits.
func (t *turn) end(now time.Time) {
	if !t.waits {
		t.waits, t.ended = true, now
		t.of.awake.Add(-1)
	}
}

// over reports whether the reader has gone on for so long that it has to wait
// for once, although something may be there to read, for the sake of others.
// The kernel reports it anew then, at once if so.
func (t *turn) over(fd uintptr, now time.Time) bool {
	long := now.Sub(t.began)
	return long > turnTime && (long > longTurnTime || t.lull < lullWaits || t.of.awake.Load() > t.of.spare) &&
		vecio.Renew(fd)
}

// spin polls the socket, which was empty at the time now, for a while. It
// returns what the last attempt to read did, and the time right before it.
func (s *socket) spin(fd uintptr, now time.Time) (n int, errno unix.Errno, at time.Time) {
	t := &s.turn
	s.seenEmpty = now
	if !t.calm() {
		return 0, unix.EAGAIN, now
	}
	for began := now; t.of.awake.Load() <= t.of.spare; {
		before := now
		now = time.Now()
		if n, errno = vecio.Read(fd, s.readVec); errno != unix.EAGAIN {
			t.misses = 0
			return n, errno, now
		}
		s.seenEmpty = now
		if now.Sub(began) > spinTime || now.Sub(before) > stolenTime {
			break
		}
	}
	t.miss()
	return 0, unix.EAGAIN, now
}

// miss notes a spin in vain.
func (t *turn) miss() {
	t.skip = 1<<t.misses - 1
	t.misses = min(t.misses+1, maxMisses)
}

// calm reports whether to spin now that nothing is there to read.
func (t *turn) calm() bool {
	if t.pdus > 1 {
		t.lull = 0
	}
	t.pdus = 0
	if t.lull++; t.lull < lullWaits {
		return false
	}
	if t.skip > 0 {
		t.skip--
		return false
	}
	return true
}
