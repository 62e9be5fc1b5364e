package attach

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// fullPause is how long the log says nothing more of a full store.
const fullPause = 10 * time.Minute

// fullNote tells the log that the store of a volume is full: applications see
// errors of their own, which seldom say where the space is missing.
type fullNote struct {
	log   *slog.Logger
	began time.Time
	next  atomic.Int64 // after began, in nanoseconds
}

func newFullNote(log *slog.Logger) *fullNote { return &fullNote{log: log, began: time.Now()} }

// found notes that a request found no space. Goroutines of devices call it.
func (n *fullNote) found() {
	now, next := int64(time.Since(n.began)), n.next.Load()
	if now < next || !n.next.CompareAndSwap(next, now+int64(fullPause)) {
		return
	}
	n.log.Warn("the store of the volume is full: writes fail with \"no space left\" until there is room; free space where the volume is kept, or delete snapshots or volumes there that nobody needs, and let the applications try again", "silent_for", fullPause)
}
