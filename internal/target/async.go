package target

import (
	"math"
	"time"

	"sango/internal/iscsi"
)

// asyncMessage returns a control that carries a.
func asyncMessage(a iscsi.Async) *control {
	k := newControl()
	a.Put(&k.h)
	return k
}

// askLogout asks the initiator to log out within d (RFC 7143 §11.9.1, event
// 1). One whose last Login Response was not sent yet must not get anything
// before it; its session ends right after it. It may be called from any
// goroutine.
func (c *conn) askLogout(d time.Duration) {
	secs := uint16(min(max(math.Ceil(d.Seconds()), 1), math.MaxUint16))
	c.mu.Lock()
	if !c.answered {
		c.endLocked(errShutdown, false)
		c.mu.Unlock()
		return
	}
	c.enqueue(asyncMessage(iscsi.Async{Event: iscsi.AsyncLogout, Param3: secs}))
	c.kick()
}
