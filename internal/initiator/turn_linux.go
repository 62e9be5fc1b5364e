package initiator

import (
	"runtime"
	"sync/atomic"
	"time"

	"sango/internal/vecio"
)

// awake counts the readers of all sessions of the process that do not wait.
var awake atomic.Int32

// spareReaders is how many of them may be awake while one spins, with so many
// processors to run on: none where it would keep everybody else away.
func spareReaders(processors int) int32 {
	if processors == 1 {
		return 0
	}
	return int32(max(1, processors/4))
}

var spare = spareReaders(runtime.GOMAXPROCS(0))

// turn is the time of one reader between two waits. It belongs to the reader.
type turn struct {
	began  time.Time
	runs   bool // it does not wait
	misses uint // spins in vain since the last one that was not
	skip   int  // waits to go without a spin
}

// turnTime is how long a reader goes on without a wait. Go's scheduler looks
// for sockets that became ready only when it has nothing else to run, or every
// 10 ms: so long would other sessions wait for readers that always find
// something, on as many processors as there are. While processors are to spare
// it may be longer: they look.
const (
	turnTime     = 200 * time.Microsecond
	longTurnTime = 2 * time.Millisecond
)

// spinTime is how long a reader polls its socket before it waits: a target
// takes less for what it has in memory, to wake up on both sides takes more.
const spinTime = 50 * time.Microsecond

// stolenTime is how long an attempt to read can't take: somebody else got the
// processor, and needs it more.
const stolenTime = 20 * time.Microsecond

// maxMisses bounds how rarely a reader spins that does so in vain: before one
// of 2^maxMisses waits.
const maxMisses = 10

// begin notes that the reader goes on.
func (t *turn) begin(now time.Time) {
	if !t.runs {
		t.runs, t.began = true, now
		awake.Add(1)
	}
}

// end notes that the reader waits, or is no more.
func (t *turn) end() {
	if t.runs {
		t.runs = false
		awake.Add(-1)
	}
}

// over reports whether the reader has gone on for so long that it has to wait
// for once, although something may be there to read, for the sake of others.
// The kernel reports it anew then, at once if so.
func (t *turn) over(fd uintptr, now time.Time) bool {
	long := now.Sub(t.began)
	return long > turnTime && (long > longTurnTime || awake.Load() > spare) &&
		vecio.Renew(fd)
}

// missed notes a spin in vain.
func (t *turn) missed() {
	t.skip = 1<<t.misses - 1
	t.misses = min(t.misses+1, maxMisses)
}
