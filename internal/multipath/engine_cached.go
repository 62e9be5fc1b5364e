package multipath

import (
	"errors"
	"fmt"

	"sango/internal/san"
)

// caching is what the engine knows of writes that only the target's cache may
// hold. The target's machine loses them when it starts anew, and tells so by
// another BOOT only (docs/fence.md): a flush would be answered GOOD.
type caching struct {
	boot   san.UUID // of the machine that holds them, as told last
	writes uint64   // acknowledged
	stable uint64   // of these, so many are stable, or known to be lost

	reboots uint64 // that found writes which were not stable
	lost    uint64 // writes at the last of these
	upTo    uint64 // engine.submitted at that moment
}

var errRebooted = errors.New("the target's machine restarted; writes since the last flush may be lost")

// booted takes the BOOT of a session that reaches the volume.
func (e *engine) booted(boot san.UUID) {
	c := &e.cache
	if boot.IsZero() || boot == c.boot {
		return
	}
	if !c.boot.IsZero() && c.writes > c.stable {
		e.deferred = errRebooted
		c.stable, c.lost, c.upTo = c.writes, c.writes, e.submitted
		c.reboots++
		e.changed()
	}
	c.boot = boot
}

// wrote takes the acknowledgement of a volatile request by in. It may come
// after a session with another BOOT was probed: then it is lost with the
// others, or they are.
func (e *engine) wrote(in *instance) {
	e.booted(in.boot)
	e.cache.writes++
}

// flushed takes a flush that was executed by in, and returns why it is to fail
// nevertheless. A restart fails all flushes that were on their way when it was
// found, and the next one unless one of them came after the last lost write.
func (e *engine) flushed(r *request, in *instance) (err error) {
	c := &e.cache
	e.booted(in.boot)
	c.stable = max(c.stable, r.covers)
	switch {
	case errors.Is(e.deferred, errRebooted):
		if r.covers >= c.lost {
			e.deferred = nil
		}
		err = errRebooted
	case e.deferred != nil:
		err = fmt.Errorf("earlier data was not written: %w", e.deferred)
		e.deferred = nil
	case r.nth <= c.upTo:
		err = errRebooted
	}
	return err
}
