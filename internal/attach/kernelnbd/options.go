package kernelnbd

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

// Any lets the driver choose the number of the disk.
const Any = anyIndex

// Options of Start. The zero value is the disk number 0 with defaults for the
// rest.
type Options struct {
	Index       int // N of /dev/nbdN; Any: the lowest one that is free
	Connections int // 0: 4, or as many as there are processors if that is less
	// Timeout is how long a request may take until the driver sends it again
	// through another connection, in whole seconds; 0: 3 s. After a recovery
	// requests wait for it.
	Timeout time.Duration
	// DeadTimeout is how long requests wait for a connection when all are dead, in
	// whole seconds; 0: one hour.
	DeadTimeout time.Duration
	// Backend tells this disk from others for Recover; at most 128 bytes.
	Backend string
	// Recover takes over the disk Index, which a dead process has left, instead of
	// making one; see the package's comment. Connections and Backend must be as
	// they were.
	Recover  bool
	ReadOnly bool         // the disk refuses writes, even if the device takes them
	Logger   *slog.Logger // nil: slog.Default()

	driver driver // nil: the kernel's
}

const (
	maxConnections = 64
	maxBackend     = 128
	maxSeconds     = 1 << 30 // the driver multiplies it with ticks a second
)

func (o *Options) fill() {
	if o.Connections == 0 {
		o.Connections = min(4, runtime.NumCPU())
	}
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Second
	}
	if o.DeadTimeout == 0 {
		o.DeadTimeout = time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.driver == nil {
		o.driver = newGeneric()
	}
}

func (o *Options) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Index < Any || o.Index >= 1<<20 {
		bad("the number of a disk is between 0 and %d, or %d for any: not %d", 1<<20-1, Any, o.Index)
	}
	if o.Recover && o.Index == Any {
		bad("say which disk to recover: the N of its /dev/nbdN")
	}
	if o.Connections < 1 || o.Connections > maxConnections {
		bad("a disk has 1 to %d connections, not %d", maxConnections, o.Connections)
	}
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"timeout", o.Timeout}, {"dead timeout", o.DeadTimeout}} {
		if t.d < time.Second || t.d%time.Second != 0 || t.d/time.Second > maxSeconds {
			bad("the %s is a number of whole seconds, at least 1, not %v", t.name, t.d)
		}
	}
	if len(o.Backend) > maxBackend {
		bad("the backend identifier has %d bytes, %d is the most", len(o.Backend), maxBackend)
	}
	return errors.Join(errs...)
}
