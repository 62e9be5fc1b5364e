package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/multipath"
	"sango/internal/pause"
)

// Options say how a drill goes.
type Options struct {
	Program string // the sango program
	Dir     string // an empty directory, for everything
	// Say is called with each sentence of the story, and the time since the
	// beginning.
	Say func(at time.Duration, text string)
	// Before and After are how long the host writes before the gateway is killed,
	// and after another one serves. Default: 3 s.
	Before, After time.Duration
}

// Result is how a drill ended. Durations are in milliseconds.
type Result struct {
	Killed      string `json:"killed"`      // gateway
	Owner       string `json:"owner"`       // who serves the volume since
	Coordinator string `json:"coordinator"` // who decided
	Reason      string `json:"reason"`      // of the death
	EpochBefore uint64 `json:"epoch_before"`
	EpochAfter  uint64 `json:"epoch_after"`
	Decided     int64  `json:"decided_ms"` // from the kill until another one served
	Stall       int64  `json:"stall_ms"`   // the longest time without an acknowledged write
	Slowest     int64  `json:"slowest_ms"` // the longest that one write took
	Writes      int64  `json:"writes"`     // acknowledged
	Blocks      int    `json:"blocks"`     // written and read back
	Lost        int    `json:"lost"`       // of these, blocks that were not what was acknowledged last
	Errors      int    `json:"errors"`     // writes that failed
	Seconds     int    `json:"seconds"`
}

// The size of the drill.
const (
	gateways   = 3
	depth      = 8
	blocks     = 4096
	volumeSize = 64 << 20
)

// ErrLost says that something was lost.
var ErrLost = errors.New("what was acknowledged is not all there")

// Run plays the drill. It returns a result when it came to its end, with ErrLost
// where that was no good one. Nothing that it started is left.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Before == 0 {
		o.Before = 3 * time.Second
	}
	if o.After == 0 {
		o.After = 3 * time.Second
	}
	began := time.Now()
	d := &story{o: o, r: &Result{}, say: func(format string, args ...any) {
		if o.Say != nil {
			o.Say(time.Since(began), fmt.Sprintf(format, args...))
		}
	}}
	defer d.site.close()
	err := d.tell(ctx)
	if err != nil && !errors.Is(err, ErrLost) {
		return nil, err
	}
	d.r.Seconds = int(time.Since(began).Seconds())
	return d.r, err
}

type story struct {
	o    Options
	r    *Result
	say  func(format string, args ...any)
	site site
}

func (d *story) tell(ctx context.Context) error {
	d.say("three gateways start, each in a process of its own, with three copies of the metadata")
	if err := d.site.open(ctx, d.o.Program, d.o.Dir, gateways); err != nil {
		return err
	}
	if err := d.site.create(ctx, volumeSize); err != nil {
		return err
	}
	c, err := status(ctx, d.site.gateways[0].dir)
	if err != nil {
		return err
	}
	own := ownership(c)
	d.r.Killed, d.r.EpochBefore = own.GetOwner(), own.GetEpoch()
	d.say("they agree: %s decides who serves what; volume %q belongs to %s, under epoch %d; the others pass commands on to it", c.GetCoordinator(), volumeName, own.GetOwner(), own.GetEpoch())

	dev, err := multipath.Open(ctx, multipath.Config{URLs: urls(c), Initiator: hostName, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	l := NewLoad(dev, blocks, depth, uint64(time.Now().UnixNano()))
	defer func() {
		if dev != nil {
			d.site.close() // requests that wait for a path end
			dev.Abandon()
			_ = l.Stop() // what it says is known
		}
	}()
	d.say("a host with a path to each of them writes: %d blocks of 4 KiB at a time, all over %d, each with a checksum", depth, blocks)
	l.Start()
	if !pause.For(ctx, d.o.Before) {
		return ctx.Err()
	}
	n := l.Counts()
	d.say("%d writes were acknowledged, the slowest after %v", n.Writes, n.Slowest.Round(time.Millisecond))
	if err := d.kill(ctx, l); err != nil {
		return err
	}
	if !pause.For(ctx, d.o.After) {
		return ctx.Err()
	}
	n = l.Counts()
	failed := l.Stop()
	d.r.Writes, d.r.Stall, d.r.Slowest = n.Writes, n.Gap.Milliseconds(), n.Slowest.Milliseconds()
	d.say("for the host, writes stood still for %v; no other took longer than %v", n.Gap.Round(time.Millisecond), n.Slowest.Round(time.Millisecond))
	if failed != nil {
		d.r.Errors++
		d.say("A WRITE FAILED: %v", failed)
	}
	d.say("%d writes were acknowledged; all blocks are read back", n.Writes)
	v, err := l.Verify()
	if err != nil {
		return err
	}
	err = dev.Close()
	dev = nil
	if err != nil {
		return err
	}
	d.r.Blocks, d.r.Lost = v.Blocks, v.Lost
	if v.Lost > 0 {
		d.say("LOST: %d of %d blocks; %s", v.Lost, v.Blocks, v.First)
	}
	if v.Lost > 0 || failed != nil {
		return ErrLost
	}
	d.say("nothing was lost: each of %d blocks holds what was acknowledged last", v.Blocks)
	return nil
}

// kill kills the owner and tells what the others make of it.
func (d *story) kill(ctx context.Context, l *Load) error {
	l.Mark()
	killed := time.Now()
	d.say("kill -9 %s, which owns the volume", d.r.Killed)
	d.site.gateway(d.r.Killed).kill()
	var c *v1.Cluster
	err := d.site.await(ctx, func(x *v1.Cluster) bool {
		c = x
		o := ownership(x)
		return o.GetState() == "active" && o.GetOwner() != d.r.Killed
	})
	if err != nil {
		return err
	}
	d.r.Decided = time.Since(killed).Milliseconds()
	own := ownership(c)
	d.r.Owner, d.r.EpochAfter, d.r.Coordinator = own.GetOwner(), own.GetEpoch(), c.GetCoordinator()
	for _, g := range c.GetGateways() {
		if g.GetName() == d.r.Killed {
			d.r.Reason = g.GetReason()
		}
	}
	d.say("%s has decided: %s is dead (%s); the volume belongs to %s, under epoch %d; whoever comes with an older epoch is refused", d.r.Coordinator, d.r.Killed, why(d.r.Reason), d.r.Owner, d.r.EpochAfter)
	return nil
}

// why puts the reason of a death into words.
func why(reason string) string {
	switch reason {
	case "suspected":
		return "both others said that it does not answer"
	case "silent":
		return "its heartbeats ended"
	}
	return reason
}
