package bench

import (
	"fmt"
	"strings"
	"time"

	"sango/internal/block"
	"sango/internal/san"
)

// Volume is what load is made on: a part of block.Device. Its Submit must not
// block.
type Volume interface {
	Info() block.Info
	Submit(r *block.Request)
}

// Pattern is what a load does, in the words of fio.
type Pattern string

// The patterns.
const (
	Read      Pattern = "read"
	Write     Pattern = "write"
	ReadWrite Pattern = "rw"
	RandRead  Pattern = "randread"
	RandWrite Pattern = "randwrite"
	RandRW    Pattern = "randrw"
)

var patterns = []Pattern{Read, Write, ReadWrite, RandRead, RandWrite, RandRW}

// ParsePattern reads a pattern.
func ParsePattern(s string) (Pattern, error) {
	var names []string
	for _, p := range patterns {
		if s == string(p) {
			return p, nil
		}
		names = append(names, string(p))
	}
	return "", fmt.Errorf("%q is no pattern; use one of %s", s, strings.Join(names, ", "))
}

// Random reports whether the offsets are random.
func (p Pattern) Random() bool { return strings.HasPrefix(string(p), "rand") }

// Writes reports whether anything is written.
func (p Pattern) Writes() bool { return p != Read && p != RandRead }

// Reads reports whether anything is read.
func (p Pattern) Reads() bool { return p != Write && p != RandWrite }

// The bounds of a Config.
const (
	MaxDepth    = 4096
	MaxSessions = 4096
	MaxRequest  = 64 << 20
	maxBuffers  = 4 << 30 // of all slots, bytes
	maxTracked  = 1 << 26 // requests' ranges that a verifying run can tell apart
	maxTime     = 30 * 24 * time.Hour
	maxRate     = 10_000_000
)

// Config says what load to make.
type Config struct {
	Volumes   []Volume // one for each session, all of the same volume
	Pattern   Pattern
	Mix       int           // percent of reads in ReadWrite and RandRW
	Request   int64         // bytes of one request
	Depth     int           // requests at a time in each session
	Offset    int64         // of the area, bytes
	Size      int64         // of the area, bytes; 0: to the end of the volume
	Time      time.Duration // of the measurement; 0: until Count
	Ramp      time.Duration // load that comes before, and is not measured
	Count     int64         // requests in all, with those of the ramp; 0: until Time
	Rate      float64       // requests per second in all; 0: as fast as it goes
	Verify    bool          // write blocks that tell what they are, and look at what is read
	FUA       bool          // writes are stable before they are answered
	MaxErrors int64         // that end the run; 0: the first
	Seed      uint64        // of all that is random
	Interval  time.Duration // of the time series; 0: 1 s
	// Drain is how long the run waits at its end for requests that are not
	// answered; 0: 60 s. What remains counts as an error.
	Drain time.Duration
	// Tick is called with each element of the time series as it is made.
	Tick func(Sample)
	// sleep waits the last of a wait; tests have a clock of their own.
	sleep func(time.Duration)
}

func invalid(format string, args ...any) error { return san.Errorf(san.ErrInvalid, format, args...) }

// Check says what of c makes no sense in itself, without a volume.
func (c *Config) Check() error {
	if _, err := ParsePattern(string(c.Pattern)); err != nil {
		return invalid("%v", err)
	}
	switch {
	case c.Mix < 0 || c.Mix > 100:
		return invalid("a mix of %d percent reads; use 0 to 100", c.Mix)
	case c.Request <= 0 || c.Request > MaxRequest:
		return invalid("requests of %d bytes; use 1 to %d", c.Request, MaxRequest)
	case c.Depth < 1 || c.Depth > MaxDepth:
		return invalid("depth %d; use 1 to %d", c.Depth, MaxDepth)
	case c.Offset < 0 || c.Size < 0:
		return invalid("an area of %d bytes at %d; neither can be negative", c.Size, c.Offset)
	case c.Time < 0 || c.Time > maxTime || c.Ramp < 0 || c.Ramp > maxTime:
		return invalid("a time of %v after a ramp of %v; use 0 to %v", c.Time, c.Ramp, maxTime)
	case c.Count < 0:
		return invalid("a count of %d requests; use 1 or more, or 0 for no limit", c.Count)
	case c.Time == 0 && c.Count == 0:
		return invalid("the load would never end: give a time or a count")
	case !(c.Rate >= 0 && c.Rate <= maxRate): // NaN is neither
		return invalid("a rate of %v requests per second; use 0 to %d", c.Rate, maxRate)
	case c.MaxErrors < 0:
		return invalid("%d errors; use 0 or more", c.MaxErrors)
	case c.Interval < 0 || c.Interval > 0 && c.Interval < 10*time.Millisecond:
		return invalid("an interval of %v; use 10ms or more", c.Interval)
	case c.Interval > 0 && c.Time/c.Interval > maxSamples:
		return invalid("an interval of %v makes more than %d samples in %v; use a longer one", c.Interval, maxSamples, c.Time)
	}
	return nil
}

// area checks c against its volumes and returns the area, whole requests of
// it.
func (c *Config) area() (off, blocks int64, err error) {
	if n := len(c.Volumes); n < 1 || n > MaxSessions {
		return 0, 0, invalid("%d sessions; use 1 to %d", n, MaxSessions)
	}
	info := c.Volumes[0].Info()
	for _, v := range c.Volumes[1:] {
		if i := v.Info(); i.Size != info.Size || i.BlockSize != info.BlockSize {
			return 0, 0, invalid("the sessions reach different volumes: %d bytes in blocks of %d, and %d in blocks of %d", info.Size, info.BlockSize, i.Size, i.BlockSize)
		}
	}
	bs := int64(info.BlockSize)
	switch {
	case bs <= 0:
		return 0, 0, invalid("the volume has blocks of %d bytes", bs)
	case c.Request%bs != 0:
		return 0, 0, invalid("requests of %d bytes are not whole blocks: the volume has blocks of %d bytes", c.Request, bs)
	case c.Offset%bs != 0:
		return 0, 0, invalid("offset %d is not at a block: the volume has blocks of %d bytes", c.Offset, bs)
	case c.Offset >= info.Size:
		return 0, 0, invalid("offset %d is past the end: the volume has %d bytes", c.Offset, info.Size)
	case c.Size > info.Size-c.Offset:
		return 0, 0, invalid("%d bytes at offset %d reach past the end: the volume has %d bytes", c.Size, c.Offset, info.Size)
	case c.Pattern.Writes() && info.Caps.ReadOnly:
		return 0, 0, san.Errorf(san.ErrRefused, "the volume is read-only: only read and randread work on it")
	}
	size := c.Size
	if size == 0 {
		size = info.Size - c.Offset
	}
	blocks = size / c.Request
	slots := int64(c.Depth) * int64(len(c.Volumes))
	switch {
	case blocks < 1:
		return 0, 0, invalid("an area of %d bytes holds no request of %d bytes", size, c.Request)
	case slots*c.Request > maxBuffers:
		return 0, 0, invalid("%d requests of %d bytes at a time take more than %s of memory; use a smaller depth or request", slots, c.Request, san.FormatSize(maxBuffers))
	case c.Verify && blocks > maxTracked:
		return 0, 0, invalid("verification keeps track of %d requests' places at most, and the area has %d; use a smaller area or longer requests", maxTracked, blocks)
	case c.Verify && blocks < 2*slots:
		return 0, 0, invalid("verification needs an area of at least %d requests for %d at a time, and this has %d; use a larger area or a smaller depth", 2*slots, slots, blocks)
	}
	return c.Offset, blocks, nil
}
