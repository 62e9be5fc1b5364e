package target

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sango/internal/scsi"
)

// Config is how a Server behaves. Zero fields take the defaults that
// Complete gives.
type Config struct {
	// Connections bounds all the connections of the server. One more is refused
	// with login status 0302h, and past a reserve for such refusals reset.
	Connections int
	// Logins bounds the connections that are logging in and the discovery
	// sessions, LoginsPerAddress those of them from one address, so that peers
	// that may have proved nothing cannot keep hosts out. One more is reset.
	Logins           int
	LoginsPerAddress int
	// SessionsPerHost bounds the normal sessions of one initiator name; one
	// more is refused with login status 0302h.
	SessionsPerHost int
	// LoginTimeout is how long a connection may take from accept to full
	// feature phase, a wait for the tasks of the session it reinstates
	// included.
	LoginTimeout time.Duration
	// DiscoveryIdle is how long a discovery session may be silent.
	DiscoveryIdle time.Duration

	// NopInterval is the time between two pings of a connection, NopTimeout
	// how long each may go unanswered; then the connection is reset. Their sum
	// is the time in which a lost peer is noticed (DESIGN R4 a): 3 to 5 s.
	NopInterval time.Duration
	NopTimeout  time.Duration
	// MaxAge is how old a command may be when it is admitted (DESIGN R4 b). An
	// older one is not executed and its connection is reset.
	MaxAge time.Duration

	// DiscoveryCHAP makes discovery sessions use one of the accounts that the
	// directory names for them; otherwise they may.
	DiscoveryCHAP bool

	// Window is the number of commands that a session may have outstanding.
	Window int
	// Immediates bounds the immediate commands outstanding besides.
	Immediates int
	// MaxRecvDataSegment is what the server declares as its
	// MaxRecvDataSegmentLength, in bytes; FirstBurst, MaxBurst and
	// OutstandingR2T are its sides of those negotiations.
	MaxRecvDataSegment int
	FirstBurst         int
	MaxBurst           int
	OutstandingR2T     int
	// NoImmediateData and InitialR2T are the server's sides of ImmediateData=No
	// and InitialR2T=Yes; both together make all write data solicited.
	NoImmediateData bool
	InitialR2T      bool

	// ConnectionMemory, HostMemory and Memory bound the task data that one
	// connection, all those of one initiator name, and the whole server hold, in
	// bytes. A command that would exceed the first ends with TASK SET FULL,
	// unless it is the only one of its connection; one that would exceed the
	// others ends with BUSY.
	ConnectionMemory int64
	HostMemory       int64
	Memory           int64

	// DrainTime is what initiators are given to log out when the server
	// drains.
	DrainTime time.Duration

	// Fence, unless nil, has the other gateways end the sessions of an initiator
	// that l names, and calls done once: with true when nothing of them is left
	// anywhere, with false when stop was closed before, or where that can't be found
	// out now. It must not block; false: too many fences wait, and done is not called.
	Fence func(initiator string, l scsi.FenceList, stop <-chan struct{}, done func(bool)) bool

	Logger *slog.Logger // nil: slog.Default()

	// tick is how long a reader sleeps at most, apart from tickGrid: much shorter
	// than MaxAge, because a command may seem that much older than it is.
	tick time.Duration
	// stale is the age of read bytes from which on it is worth a system call to
	// ask whether the connection still stands.
	stale time.Duration
}

// Complete returns c with its zero fields filled in, and what is wrong with the
// others.
func (c Config) Complete() (Config, error) {
	def(&c.Connections, 1024)
	def(&c.Logins, max(c.Connections/4, 1))
	def(&c.LoginsPerAddress, max(c.Logins/4, 1))
	def(&c.SessionsPerHost, 64)
	def(&c.LoginTimeout, 15*time.Second)
	def(&c.DiscoveryIdle, 60*time.Second)
	def(&c.NopInterval, time.Second)
	def(&c.NopTimeout, 3500*time.Millisecond)
	def(&c.MaxAge, 3*time.Second)
	def(&c.Window, 128)
	def(&c.Immediates, 32)
	def(&c.MaxRecvDataSegment, 256<<10)
	def(&c.FirstBurst, 256<<10)
	def(&c.MaxBurst, 1<<20)
	def(&c.OutstandingR2T, maxR2T)
	def(&c.ConnectionMemory, 256<<20)
	def(&c.Memory, 2<<30)
	def(&c.HostMemory, max(c.Memory/2, transferEstimate))
	def(&c.DrainTime, 5*time.Second)
	def(&c.tick, min(tickTime, c.MaxAge/4))
	def(&c.stale, 20*time.Millisecond)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, errors.Join(
		within("memory (MiB)", int(c.Memory>>20), transferEstimate>>20, 1<<20),
		within("memory of a host (MiB)", int(c.HostMemory>>20), transferEstimate>>20, 1<<20),
		within("memory of a connection (KiB)", int(c.ConnectionMemory>>10), 64, 1<<30),
		within("connections", c.Connections, 1, 1<<20),
		within("logins", c.Logins, 1, 1<<20),
		within("logins per address", c.LoginsPerAddress, 1, 1<<20),
		within("sessions per host", c.SessionsPerHost, 1, 1<<16),
		within("window", c.Window, 1, maxWindow),
		within("immediate commands", c.Immediates, 1, maxWindow),
		within("MaxRecvDataSegmentLength", c.MaxRecvDataSegment, 512, 1<<24-1),
		within("FirstBurstLength", c.FirstBurst, 512, c.MaxBurst),
		within("MaxBurstLength", c.MaxBurst, 512, 1<<24-1),
		within("MaxOutstandingR2T", c.OutstandingR2T, 1, maxR2T),
	)
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func within(what string, v, lo, hi int) error {
	if v < lo || v > hi {
		return fmt.Errorf("target: %s is %d; set it between %d and %d", what, v, lo, hi)
	}
	return nil
}
