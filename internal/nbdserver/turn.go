package nbdserver

import (
	"runtime"
	"sync/atomic"
	"time"
)

// turns decide how the readers of a server share the processors.
type turns struct {
	readers atomic.Int32 // connections in the transmission phase
	awake   atomic.Int32 // those of them that do not wait for their clients
	spare   int32        // how many may be awake while one spins
}

// settle finds out how many processors there are.
func (t *turns) settle() {
	if n := runtime.GOMAXPROCS(0); n > 1 { // on one, who spins would keep everybody else away
		t.spare = int32(max(1, n/4))
	}
}

// turn is the time of one reader between two waits.
type turn struct {
	of     *turns
	began  time.Time
	reads  int // since then
	timer  *time.Timer
	eager  bool // the rest of a request is on its way
	single int  // waits in a row that ended one request at the most
	misses uint // spins in vain since the last one that was not
	skip   int  // waits to go without a spin
}

// The times and counts of turns.
const (
	// turnTime is how long a reader goes on without a wait when there are others.
	// Go's scheduler looks for sockets that became ready only when it has nothing
	// else to run, or every 10 ms: so long would other connections wait for readers
	// that always find something.
	turnTime = 200 * time.Microsecond
	// turnReads is after how many reads a reader looks at the clock.
	turnReads = 16
	// spinTime is how long a reader polls its socket before it waits: a client that
	// sends its next request when it has the answer to the last takes less, to wake
	// up on both sides takes more.
	spinTime = 50 * time.Microsecond
	// shallow is how many waits in a row have to end one request at the most, until
	// a reader spins: with a client that has more under way, who waits finds several
	// requests next time, and who spins disturbs it at sending them.
	shallow = 64
	// maxMisses bounds how rarely a reader spins that does so in vain: before one
	// of 2^maxMisses waits.
	maxMisses = 10
)

// begin notes that the reader goes on.
func (t *turn) begin() {
	t.reads = 0
	t.of.awake.Add(1)
}

// end notes that it waits.
func (t *turn) end() { t.of.awake.Add(-1) }

// note tells how many requests have come since the last wait.
func (t *turn) note(requests int) {
	if requests > 1 {
		t.single = 0
	} else {
		t.single++
	}
}

// mayWait gives others a chance when the reader has gone on for long. Only a
// goroutine that waits makes the scheduler look for what the sockets of others
// have.
func (t *turn) mayWait() {
	if t.reads++; t.reads%turnReads != 1 || t.of.readers.Load() < 2 {
		return
	}
	now := time.Now()
	if t.reads == 1 {
		t.began = now
	}
	if now.Sub(t.began) < turnTime {
		return
	}
	if t.timer == nil {
		t.timer = time.NewTimer(time.Microsecond)
	} else {
		t.timer.Reset(time.Microsecond)
	}
	t.end()
	<-t.timer.C
	t.begin()
}

// spins reports whether the reader is to poll its socket before it waits.
func (t *turn) spins() bool {
	if !t.eager && t.single < shallow || t.of.awake.Load() > t.of.spare {
		return false
	}
	if t.skip > 0 {
		t.skip--
		return false
	}
	return true
}

// missed notes that it did so in vain.
func (t *turn) missed() {
	t.skip = 1<<t.misses - 1
	t.misses = min(t.misses+1, maxMisses)
}
