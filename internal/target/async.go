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
// 1). It may be called from any goroutine.
func (c *conn) askLogout(d time.Duration) {
	secs := uint16(min(max(math.Ceil(d.Seconds()), 1), math.MaxUint16))
	c.post(asyncMessage(iscsi.Async{Event: iscsi.AsyncLogout, Param1: c.cid, Param3: secs}))
}
