package gateway

import (
	"sync"

	"sango/internal/meta"
)

// queue hands changes from the watch to the one that applies them, gathering
// those that came while it was at work.
type queue struct {
	mu      sync.Mutex // guards what follows
	waiting work
	some    bool // waiting holds something
	closed  bool
	wake    chan struct{} // has room for one
}

// work is a batch of changes, or with whole a new start and changes after it.
type work struct {
	batch
	whole *meta.Snapshot
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// put adds changes behind those that wait.
func (q *queue) put(b batch) {
	q.mu.Lock()
	q.waiting.revision = b.revision
	q.waiting.changes = append(q.waiting.changes, b.changes...)
	q.some = true
	q.mu.Unlock()
	q.signal()
}

// replace puts a whole snapshot in place of all that waits.
func (q *queue) replace(s *meta.Snapshot) {
	q.mu.Lock()
	q.waiting = work{whole: s}
	q.some = true
	q.mu.Unlock()
	q.signal()
}

// take returns all that waits, a snapshot before the changes after it. ok is
// false when the queue is closed and empty.
func (q *queue) take() (w work, ok bool) {
	for {
		q.mu.Lock()
		if q.some {
			w = q.waiting
			q.waiting, q.some = work{}, false
			if w.whole != nil && len(w.changes) > 0 {
				q.waiting, q.some = work{batch: w.batch}, true
				w.batch = batch{}
				q.signal()
			}
			q.mu.Unlock()
			return w, true
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return work{}, false
		}
		<-q.wake
	}
}

// close lets take return what waits, and then no more.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}
