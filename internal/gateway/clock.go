package gateway

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Clock jumps that the watch reports are larger than clockSlack; it looks every
// clockTick.
const (
	clockTick  = time.Second
	clockSlack = 500 * time.Millisecond
)

// clockWatch notices when the wall clock jumps against the monotonic one.
// Nothing in a node depends on the wall clock, but logs, times of snapshots and
// certificates do, and where it jumps the machine may have been asleep.
type clockWatch struct {
	jumps atomic.Int64
	log   *slog.Logger
}

func (w *clockWatch) run(ctx context.Context) {
	tick := time.NewTicker(clockTick)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := time.Now()
			w.look(now.Sub(last), now.Round(0).Sub(last.Round(0)))
			last = now
		}
	}
}

// look compares what the two clocks say has passed.
func (w *clockWatch) look(monotonic, wall time.Duration) {
	if d := wall - monotonic; d > clockSlack || d < -clockSlack {
		w.jumps.Add(1)
		w.log.Warn("the machine's clock jumped; let an NTP service steer it slowly", "by", d)
	}
}
