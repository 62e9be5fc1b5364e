package ublk

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"sango/internal/attach/ublk/uapi"
)

// Any lets the driver choose the number of the disk.
const Any = -1

// Options of Start. The zero value is the disk number 0 with defaults for the rest.
type Options struct {
	ID         int           // N of /dev/ublkbN; Any: the lowest one that is free
	Queues     int           // 0: one a processor, four at most; the kernel takes no more than there are processors
	Depth      int           // requests in flight a queue; 0: 64
	MaxIO      int           // bytes of the longest transfer; 0: 512 KiB
	MaxDiscard int64         // bytes of the longest discard or write of zeroes; 0: 1 GiB
	Workers    int           // goroutines for requests that would block a queue; 0: 32
	ReadOnly   bool          // the disk refuses writes, even if the device takes them
	PlainCopy  bool          // no user copy; see the package's comment
	Lock       bool          // lock the buffers into memory
	Recover    bool          // take over the disk ID, which a dead process has left; see the package's comment
	Patience   time.Duration // how long Recover waits for the kernel to be done with the dead process; 0: 75 s
	Logger     *slog.Logger  // nil: slog.Default()
}

func (o *Options) fill() {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&o.Queues, min(4, runtime.NumCPU()))
	def(&o.Depth, 64)
	def(&o.MaxIO, 512<<10)
	def(&o.Workers, 32)
	if o.MaxDiscard == 0 {
		o.MaxDiscard = 1 << 30
	}
	if o.Patience == 0 {
		o.Patience = 75 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

func (o *Options) check() error {
	page := os.Getpagesize()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.ID < Any || o.ID >= 1<<20 {
		bad("the number of a disk is between 0 and %d, or %d for any: not %d", 1<<20-1, Any, o.ID)
	}
	if o.Recover && o.ID == Any {
		bad("say which disk to recover: the N of its /dev/ublkbN")
	}
	if o.Queues < 1 || o.Queues > uapi.MaxQueues {
		bad("a disk has 1 to %d queues, not %d", uapi.MaxQueues, o.Queues)
	}
	if o.Depth < 1 || o.Depth > uapi.MaxQueueDepth {
		bad("a queue is 1 to %d requests deep, not %d", uapi.MaxQueueDepth, o.Depth)
	}
	if o.MaxIO < page || o.MaxIO > uapi.MaxIOBytes || o.MaxIO%page != 0 {
		bad("the longest transfer is a multiple of %d bytes up to %d, not %d", page, uapi.MaxIOBytes, o.MaxIO)
	}
	if o.MaxDiscard < 1<<20 || o.MaxDiscard > 1<<40 {
		bad("the longest discard is 1 MiB to 1 TiB, not %d bytes", o.MaxDiscard)
	}
	if o.Workers < 1 {
		bad("%d workers can do nothing", o.Workers)
	}
	if o.Patience < 0 {
		bad("waiting for %v is not possible", o.Patience)
	}
	return errors.Join(errs...)
}

// Memory returns how many bytes of buffers a disk with these options has at most.
func (o Options) Memory() int64 {
	o.fill()
	return int64(o.Queues) * int64(o.Depth) * int64(o.MaxIO)
}
