// Package turns shares the processors between the goroutines that read from
// connections.
//
// Go's scheduler looks for sockets that became ready when a processor has
// nothing else to run, or every 10 ms. Two things follow:
//
//   - A reader that always finds something has turns (Turn): it waits for once
//     when one is over. Readers of others would wait 10 ms, on as many processors
//     as there are.
//   - One that expects something soon spins, which is to poll its socket for a
//     while before it waits: to wake up takes longer, on both sides. It does so
//     while processors are to spare (Readers), and the rarer the more often that
//     was in vain (Reader).
//
// What to expect depends on the protocol and the load, and is for the users of
// this package to say; Lull helps where requests are answered.
package turns

import (
	"sync/atomic"
	"time"
)

// SpinTime is how long a reader polls its socket before it waits. A host that
// sends its next request when it has the answer to the last takes less, and so
// does a target for what it has in memory; to wake up on both sides takes more.
const SpinTime = 50 * time.Microsecond

// maxMisses bounds how rarely a reader spins that does so in vain: before one
// of 2^maxMisses waits.
const maxMisses = 10

// Readers counts the readers that do not wait, those of a server or of a
// process: who is to make room for whom.
type Readers struct {
	// Modest readers count a spin that others left no room for as one in vain.
	// With four sessions at depth 1, those of a target answer 1.09 times as many
	// requests so, and those of an initiator get 0.9 times as many answers. To be
	// set before there are readers.
	Modest bool

	awake atomic.Int32
	spare int32 // how many of them may be awake while one spins; < 0: nobody spins
}

// NewReaders returns the count of no readers. While one spins, a quarter of the
// processors may have one that is awake, itself included unless it has noted that
// it waits. On a machine with one it would keep everybody else away.
func NewReaders(processors int) *Readers {
	if processors == 1 {
		return &Readers{spare: -1}
	}
	return &Readers{spare: int32(max(1, processors/4))}
}

// Awake returns how many readers do not wait.
func (r *Readers) Awake() int { return int(r.awake.Load()) }

// crowded reports whether these are too many for one of them to spin.
func (r *Readers) crowded() bool { return r.awake.Load() > r.spare }

// Reader is one of Readers. Its methods belong to the goroutine that reads.
type Reader struct {
	of     *Readers
	awake  bool
	misses uint // spins in vain since the last one that was not
	skip   int  // waits to go without a spin
}

// Reader returns one that waits.
func (r *Readers) Reader() Reader { return Reader{of: r} }

// Wake notes that the reader goes on, and reports whether it has waited.
func (r *Reader) Wake() bool {
	if r.awake {
		return false
	}
	r.awake = true
	r.of.awake.Add(1)
	return true
}

// Wait notes that the reader waits, or is no more, and reports whether it went
// on until now.
func (r *Reader) Wait() bool {
	if !r.awake {
		return false
	}
	r.awake = false
	r.of.awake.Add(-1)
	return true
}

// MaySpin reports whether a reader that expects something soon may spin before
// this wait.
func (r *Reader) MaySpin() bool {
	if r.skip > 0 {
		r.skip--
		return false
	}
	return r.room()
}

// room reports whether others leave room for a spin.
func (r *Reader) room() bool {
	if !r.of.crowded() {
		return true
	}
	if r.of.Modest {
		r.Spun(false)
	}
	return false
}

// Spun notes that the reader did so, and whether it found something.
func (r *Reader) Spun(found bool) {
	if found {
		r.misses = 0
		return
	}
	r.skip = 1<<r.misses - 1
	r.misses = min(r.misses+1, maxMisses)
}

// Lull counts for how long a peer has sent one request at a time: such a one
// sends the next when it has the answer. With more under way, who waits finds
// several the next time, and who spins disturbs the peer at sending them.
type Lull struct {
	requests int // since the last wait
	waits    int
}

// Came notes a request.
func (l *Lull) Came() { l.requests++ }

// Wait notes that nothing is there to read, and returns Waits.
func (l *Lull) Wait() int {
	if l.waits++; l.requests > 1 {
		l.waits = 0
	}
	l.requests = 0
	return l.waits
}

// Waits returns before how many waits in a row one request came at the most.
func (l *Lull) Waits() int { return l.waits }

// End makes it begin anew.
func (l *Lull) End() { l.waits = 0 }
