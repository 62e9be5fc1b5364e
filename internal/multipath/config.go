package multipath

import (
	"context"
	"log/slog"
	"net"
	"time"

	"sango/internal/initiator"
	"sango/internal/iscsi"
)

// Config says which volume to open, and how. The zero value of everything but
// URLs and Initiator is a sensible default.
type Config struct {
	// URLs name portals of one target and one LUN; each carries the CHAP user
	// and secret for its portal. At least one.
	URLs []initiator.URL
	// Initiator is the IQN of this host.
	Initiator string
	Alias     string
	// MutualUser and MutualSecret: every target has to prove that it knows them.
	MutualUser, MutualSecret string
	// Algorithms of CHAP that are offered; nil: those of iscsi.OriginCHAPAlgorithms, in its order.
	Algorithms []iscsi.CHAPAlgorithm
	// Group and Run name the sessions of this attachment (san.Instance). Group
	// 0 is drawn at random; Run 0 is the wall clock in nanoseconds, so that a
	// later process has a higher one.
	Group, Run uint64
	// TakeOver fences the earlier runs of Group before anything is issued. It
	// needs the Group of the process that died.
	TakeOver bool

	// Policy chooses among the paths of the best group.
	Policy Policy
	// Discover asks every given portal by SendTargets for the other portals of
	// the target, at the start, every Rediscover, and when the target says that
	// something has changed; all of them become paths.
	Discover bool

	// QueueDepth limits the commands in flight on one path (default 64); the
	// target's command window limits them as well.
	QueueDepth int
	// Offers are negotiated at login; nil: iscsi.DefaultOffers.
	Offers *iscsi.Offers

	LoginTimeout time.Duration // one login, discovery or probe of a path (default 5 s)
	PingInterval time.Duration // between liveness pings of an idle connection (default 1 s)
	PingTimeout  time.Duration // silence after a ping that ends the session (default 3 s)
	// Command is how long a command may stay unanswered on a path that is
	// alive before it is aborted there (default 30 s).
	Command time.Duration
	// Queue is how long requests wait while there is no path at all before they
	// end with block.Busy (default 60 s). Below 0: for ever.
	Queue time.Duration
	// Quiesce is how long a failed path's writes wait before they are sent
	// again, where the target offers no fence (default 10 s).
	Quiesce time.Duration
	// Failback is how long a better group must have been usable before it is
	// preferred again (default 2 s).
	Failback time.Duration
	// Check is the interval of the path checks (default 5 s).
	Check time.Duration
	// Rediscover is the interval of discovery while running (default 60 s).
	Rediscover time.Duration

	Logger *slog.Logger // default: slog.Default()
	// Resized is called when the capacity has changed, from a goroutine of the
	// device; Info has the new size already.
	Resized func(size int64)

	// Dial opens the connections; nil: TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// keep makes what keeps the session of a path; simulations put their own
	// here.
	keep func(cfg initiator.Config, up func(session), down func(session, error), failed func(error)) keeper
	// noFence sends unanswered writes again without a fence: the test of the
	// tests.
	noFence bool
}

// The defaults of Config.
const (
	DefaultQueueDepth = 64
	DefaultQueue      = 60 * time.Second
	DefaultQuiesce    = 10 * time.Second
	DefaultCommand    = 30 * time.Second
)
