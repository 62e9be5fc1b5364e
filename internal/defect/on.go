//go:build defects

package defect

import (
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Built says that the program has the switches.
const Built = true

// The rules that are not kept.
var (
	R2  = on("R2")  // whoever opens a volume does not shut out the one before
	R3  = on("R3")  // a right never ends
	R4a = on("R4a") // silent hosts are not noticed, and what they sent before they went is executed
	R4b = on("R4b") // a command's age counts from when it is decoded
	R4c = on("R4c") // tokens of any age are good
	R4d = on("R4d") // the multipath device sends unanswered writes again without a fence
	R5  = on("R5")  // reservations are changed before the record is stored
)

func on(name string) bool {
	return slices.Contains(strings.Split(os.Getenv("SANGO_DEFECTS"), ","), name)
}

// clock stands still while the process is stopped, as that of a virtual machine
// which is paused does: no rule, but what only R2 is good against.
var clock = newClock(on("clock"))

// A process that did nothing for longer than pause was stopped.
const (
	pause = 300 * time.Millisecond
	tick  = 20 * time.Millisecond
)

type stopwatch struct {
	mu    sync.Mutex // guards what follows
	seen  time.Time
	stood time.Duration
}

func newClock(on bool) *stopwatch {
	if !on {
		return nil
	}
	c := &stopwatch{seen: time.Now()}
	go func() { // for the life of the process
		for range time.Tick(tick) {
			c.look()
		}
	}()
	return c
}

func (c *stopwatch) look() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if gap := now.Sub(c.seen); gap > pause {
		c.stood += gap
	}
	c.seen = now
	return c.stood
}

// Stood is how long the clock of the gateway's right has stood still.
func Stood() time.Duration {
	if clock == nil {
		return 0
	}
	return clock.look()
}
