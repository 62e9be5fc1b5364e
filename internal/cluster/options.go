package cluster

import (
	"context"
	"log/slog"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

// Options are those of a Runtime. Zero values get defaults where there are any.
type Options struct {
	Gateway model.GatewayID
	// Sole: see model.NewGateway. It is about earlier processes: a member that
	// follows another one in this process begins when that has closed all it had.
	Sole   bool
	Times  model.Config
	Store  Store
	Driver Driver
	Fencer Fencer // nil: nothing can be fenced
	// Register registers the gateway where it is not: it is called before each
	// attempt to become a member, which none does that is not registered. nil: the
	// store wants no registration.
	Register func(ctx context.Context) error
	// Reached waits until what else the driver answers from is current too, and
	// reports whether it came to rev before ctx was done: see Fresh. nil: there is
	// nothing else.
	Reached func(ctx context.Context, rev model.Revision) bool

	// Timeout bounds one transaction, and one read. Default: 1 s.
	Timeout time.Duration
	// Term is the time after which a coordinator is followed that has died.
	// Default: 1 s.
	Term time.Duration
	// Opens bounds the volumes that are being opened at one time. Default: 32.
	Opens int
	Log   *slog.Logger // nil: slog.Default()
}

func (o Options) check() error {
	if err := san.CheckName("gateway", string(o.Gateway)); err != nil {
		return err
	}
	if o.Store == nil || o.Driver == nil {
		return san.Errorf(san.ErrInvalid, "gateway %s: a cluster needs a store and a driver", o.Gateway)
	}
	if t := o.Times; t.TTL < 0 || t.TTL > 0 && (t.TTL < minTTL || t.Margin >= t.TTL || t.Beat >= t.TTL) {
		return san.Errorf(san.ErrInvalid, "gateway %s: a heartbeat that counts for %v: use %v or more, and more than margin and interval", o.Gateway, time.Duration(t.TTL), time.Duration(minTTL))
	}
	return nil
}

// minTTL is the shortest time that heartbeats may count.
const minTTL = 100 * model.Millisecond

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	if o.Term <= 0 {
		o.Term = time.Second
	}
	if o.Opens <= 0 {
		o.Opens = 32
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Proposals under way at one time: changes of ownership, and of reservations.
// Heartbeats and what else concerns the member wait for none of them.
const proposals = 64

// Pauses before a member that is over is followed by another one.
const (
	rejoinFirst = 300 * time.Millisecond
	rejoinMost  = 5 * time.Second
	// rejoinCalm is how long a member must have lived for the pauses to begin anew.
	rejoinCalm = 30 * time.Second
)

// Pauses before a stream that ended, or a campaign that failed, is begun again.
const (
	againFirst = 100 * time.Millisecond
	againMost  = 2 * time.Second
)
