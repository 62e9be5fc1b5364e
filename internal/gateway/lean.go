package gateway

import (
	"runtime/debug"
	"sync"
)

// leanPercent is how much garbage, in percent of what lives, may gather while a
// node starts. Reading thousands of records leaves much of it, which would be
// the most memory that the node ever takes.
const leanPercent = 40

// leanNow is what all lean starts of the process share.
var leanNow struct {
	mu     sync.Mutex // guards what follows
	starts int
	normal int // percent
}

// lean is a start of a node that keeps memory low.
type lean struct{ once sync.Once }

func newLean() *lean {
	l := &leanNow
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.starts++; l.starts == 1 {
		l.normal = debug.SetGCPercent(leanPercent)
		if l.normal >= 0 && l.normal < leanPercent { // the environment asks for less
			debug.SetGCPercent(l.normal)
		}
	}
	return new(lean)
}

// end gives back what the start has left over.
func (s *lean) end() {
	s.once.Do(func() {
		l := &leanNow
		l.mu.Lock()
		if l.starts--; l.starts == 0 {
			debug.SetGCPercent(l.normal)
		}
		l.mu.Unlock()
		debug.FreeOSMemory()
	})
}
