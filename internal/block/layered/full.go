package layered

import (
	"sync/atomic"
	"time"
)

// fullPause is how long the log says nothing more of a full disk.
const fullPause = 10 * time.Minute

// fullNote tells the log that the disk of the store is full: hosts see errors
// of their own, which do not say where the space is missing.
type fullNote struct {
	began time.Time
	next  atomic.Int64 // after began, in nanoseconds
}

// note notes that a request to v found no space.
func (n *fullNote) note(v *volume) {
	now, next := int64(time.Since(n.began)), n.next.Load()
	if now < next || !n.next.CompareAndSwap(next, now+int64(fullPause)) {
		return
	}
	v.s.log.Warn("the disk that holds the volumes is full, or its quota is used up: writes fail until there is room; free space there, or delete a volume; once a little is free, deleting snapshots gives more", "dir", v.s.dir, "volume", v.id.String(), "silent_for", fullPause)
}
