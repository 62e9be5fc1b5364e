package nbdserver

import (
	"sync/atomic"
	"time"

	"sango/internal/turns"
)

// turn is the time of one reader between two waits. What ends it is a wait on a
// timer, which any kind of connection can do.
type turn struct {
	turns.Reader
	others *atomic.Int32 // connections in the transmission phase, this one included
	began  time.Time
	reads  int // since then
	timer  *time.Timer
	lull   turns.Lull
	eager  bool // the rest of a request is on its way
}

const (
	// turnReads is after how many reads a reader looks at the clock.
	turnReads = 16
	// shallow is before how many waits in a row one request must have come at the
	// most for a reader to spin.
	shallow = 64
)

// begin notes that the reader goes on.
func (t *turn) begin() {
	t.reads = 0
	t.Wake()
}

// mayWait gives others a chance when the reader has gone on for long. Only a
// goroutine that waits makes the scheduler look for what the sockets of others
// have.
func (t *turn) mayWait() {
	if t.reads++; t.reads%turnReads != 1 || t.others.Load() < 2 {
		return
	}
	now := time.Now()
	if t.reads == 1 {
		t.began = now
	}
	if now.Sub(t.began) < turns.Short {
		return
	}
	if t.timer == nil {
		t.timer = time.NewTimer(time.Microsecond)
	} else {
		t.timer.Reset(time.Microsecond)
	}
	t.Wait()
	<-t.timer.C
	t.begin()
}

// spins reports whether the reader, which has noted that it waits, is to poll its
// socket before it does.
func (t *turn) spins() bool {
	return (t.eager || t.lull.Waits() >= shallow) && t.MaySpin()
}
