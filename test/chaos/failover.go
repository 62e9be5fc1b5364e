package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/drill"
	"sango/internal/initiator"
	"sango/internal/multipath"
	"sango/internal/pause"
	"sango/internal/san"
	"sango/test/chaos/history"
	"sango/test/chaos/world"
	"sango/test/harness"
)

// failovers measures how long a host's writes stand still when something
// happens: 4 KiB, 8 at a time, through the multipath device. No write may fail,
// and none may be lost.
type failovers struct {
	site *site
	n    *nemesis
	load *drill.Load
	say  func(format string, args ...any)
}

// volumeOfOne is the volume that is measured.
const volumeOfOne = "disk"

// failoverCase is what happens in some of the runs.
type failoverCase struct {
	name string
	// median and worst are what the measured may be at most.
	median, worst time.Duration
	// do does it, and returns what undoes it.
	do func(f *failovers, ctx context.Context) (undo func(context.Context) error, err error)
	// moves says that the owner is another one afterwards.
	moves bool
}

var failoverCases = []failoverCase{
	{"gateway SIGKILL", 2 * time.Second, 5 * time.Second, (*failovers).kill, true},
	{"gateway SIGSTOP", 6 * time.Second, 10 * time.Second, (*failovers).stop, true},
	{"gateway cut off silently", 6 * time.Second, 10 * time.Second, (*failovers).isolate, true},
	{"drain", 500 * time.Millisecond, 500 * time.Millisecond, (*failovers).drain, true},
	{"planned move", 500 * time.Millisecond, 500 * time.Millisecond, (*failovers).move, true},
	{"etcd leader SIGKILL", 3 * time.Second, 3 * time.Second, (*failovers).killLeader, false},
	{"coordinator SIGKILL", 500 * time.Millisecond, 500 * time.Millisecond, (*failovers).killCoordinator, false},
}

// owner returns which gateway owns the volume.
func (f *failovers) owner(ctx context.Context) int { return f.n.owner(ctx, volumeOfOne) }

func (f *failovers) kill(ctx context.Context) (func(context.Context) error, error) {
	x := f.site.gateways[f.owner(ctx)]
	x.kill()
	return x.start, nil
}

func (f *failovers) stop(ctx context.Context) (func(context.Context) error, error) {
	x := f.site.gateways[f.owner(ctx)]
	p := x.process()
	return func(ctx context.Context) error { return errors.Join(p.Resume(), x.await(ctx)) }, p.Pause()
}

func (f *failovers) isolate(ctx context.Context) (func(context.Context) error, error) {
	g := f.owner(ctx)
	from := f.site.gatewayAddrs(g)
	var rest []netip.Addr
	for i := range f.site.gateways {
		if i != g {
			rest = append(rest, f.site.gatewayAddrs(i)...)
		}
	}
	for i := range f.site.machines {
		rest = append(rest, machineAddr(i))
	}
	rest = append(rest, f.site.etcdAddrs()...)
	f.n.set("isolated>", rule{from, rest, world.Lane{Cut: true}})
	f.n.set("isolated<", rule{rest, from, world.Lane{Cut: true}})
	return func(ctx context.Context) error {
		f.n.set("isolated>", rule{})
		f.n.set("isolated<", rule{})
		return f.site.gateways[g].await(ctx)
	}, nil
}

func (f *failovers) drain(ctx context.Context) (func(context.Context) error, error) {
	g := f.owner(ctx)
	name, other := fmt.Sprint("gw", g), (g+1)%len(f.site.gateways)
	_, err := f.site.command(ctx, other, "gateway", "drain", name)
	return func(ctx context.Context) error {
		_, err := f.site.command(ctx, other, "gateway", "undrain", name)
		return err
	}, err
}

func (f *failovers) move(ctx context.Context) (func(context.Context) error, error) {
	g := f.owner(ctx)
	return func(context.Context) error { return nil }, f.moveTo(ctx, (g+1)%len(f.site.gateways))
}

func (f *failovers) moveTo(ctx context.Context, g int) error {
	cl := api.NewClient(f.site.gateways[g].disk.Path)
	defer cl.Close()
	_, err := cl.MoveVolume(ctx, connect.NewRequest(&v1.MoveVolumeRequest{Volume: volumeOfOne, Gateway: fmt.Sprint("gw", g)}))
	return err
}

func (f *failovers) killLeader(ctx context.Context) (func(context.Context) error, error) {
	leader, err := f.site.leader(ctx)
	if err != nil {
		return nil, err
	}
	x := f.site.etcds[leader]
	x.kill()
	return x.start, nil
}

var errSame = errors.New("the coordinator owns the volume")

func (f *failovers) killCoordinator(ctx context.Context) (func(context.Context) error, error) {
	g := f.n.coordinator(ctx)
	if g == f.owner(ctx) {
		return nil, errSame
	}
	x := f.site.gateways[g]
	x.kill()
	return x.start, nil
}

// whole waits until all gateways are well, one of them owns the volume, and
// nothing moves.
func (f *failovers) whole(ctx context.Context) error {
	return harness.Await(ctx, 2*time.Minute, "the cluster is not whole", func() error {
		for i := range f.site.gateways {
			c, err := f.site.status(ctx, i)
			if err != nil {
				return err
			}
			alive := 0
			for _, g := range c.GetGateways() {
				if g.GetState() == "serving" {
					alive++
				}
			}
			if o := ownership(c, volumeOfOne); alive != len(f.site.gateways) || o.GetState() != "active" || c.GetCoordinator() == "" {
				return fmt.Errorf("gw%d sees %d alive, coordinator %q, the volume %s at %q", i, alive, c.GetCoordinator(), o.GetState(), o.GetOwner())
			}
		}
		return nil
	})
}

// measured is what the runs of a case gave.
type measured struct{ gaps, slowest []time.Duration }

// calm is how long nothing happens before and after.
const calm = 1500 * time.Millisecond

// once plays a case and returns how long writes stood still.
func (f *failovers) once(ctx context.Context, c *failoverCase) (drill.Counts, error) {
	if err := f.whole(ctx); err != nil {
		return drill.Counts{}, err
	}
	if !pause.For(ctx, calm) {
		return drill.Counts{}, ctx.Err()
	}
	before := f.owner(ctx)
	f.load.Mark()
	undo, err := c.do(f, ctx)
	if errors.Is(err, errSame) {
		if err := f.moveTo(ctx, (before+1)%len(f.site.gateways)); err != nil {
			return drill.Counts{}, err
		}
		return f.once(ctx, c)
	}
	if err != nil {
		return drill.Counts{}, err
	}
	err = f.over(ctx, c, before)
	got := f.load.Counts()
	return got, errors.Join(err, undo(ctx))
}

// over waits until it is over: another gateway owns the volume, if one is to,
// and writes have been answered for a while.
func (f *failovers) over(ctx context.Context, c *failoverCase, before int) error {
	began, flows := time.Now(), time.Now()
	for pause.For(ctx, 100*time.Millisecond) {
		now := time.Now()
		if f.load.Silence() > 300*time.Millisecond || c.moves && f.owner(ctx) == before {
			flows = now
		}
		switch {
		case now.Sub(began) > 2*calm && now.Sub(flows) > calm:
			return nil
		case now.Sub(began) > time.Minute:
			return errors.New("it is not over after a minute")
		}
	}
	return ctx.Err()
}

// failover is the measurement, in a cell.
func (o *options) failover(ctx context.Context) (err error) {
	dir, err := world.EnterCell()
	if err != nil {
		return err
	}
	kept, err := filepath.Abs(filepath.Join(o.dir, "failover"))
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(kept), os.MkdirAll(kept, 0o755)); err != nil {
		return err
	}
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%8.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	s := &site{topology: o.topology, dir: dir, logs: kept, etcd: filepath.Join(dir, "etcd"), defaults: true}
	if s.sango, err = filepath.Abs(o.sango); err != nil {
		return err
	}
	rec, err := history.NewRecorder(filepath.Join(kept, "history"), history.Header{})
	if err != nil {
		return err
	}
	defer func() {
		if s.fabric != nil {
			err = errors.Join(err, s.close())
		}
		_, closeErr := rec.Close()
		err = errors.Join(err, closeErr)
	}()
	if err := s.build(ctx); err != nil {
		return err
	}
	if err := s.start(ctx, []*volume{{name: volumeOfOne, block: 512, size: 64 << 20}}); err != nil {
		return err
	}
	cfg := multipath.Config{Initiator: "iqn.2026-11.example:failover", Queue: -1, Dial: s.machines[0].Dial, Logger: slog.New(slog.DiscardHandler)}
	for _, p := range s.portalList() {
		cfg.URLs = append(cfg.URLs, initiator.URL{Host: p, Target: targetName, LUN: san.LUN(0)})
	}
	dev, err := multipath.Open(ctx, cfg)
	if err != nil {
		return err
	}
	f := &failovers{site: s, say: say, n: &nemesis{site: s, rec: rec, say: say, rules: map[string]rule{}}, load: drill.NewLoad(dev, 4096, 8, uint64(time.Now().UnixNano()))}
	f.load.Start()
	results := map[string]*measured{}
	runErr := f.runs(ctx, o.runs, o.only, results)
	err = errors.Join(runErr, f.load.Stop())
	if err == nil {
		var v drill.Verdict
		if v, err = f.load.Verify(); v.Lost > 0 {
			err = fmt.Errorf("%d of %d blocks are lost: %s", v.Lost, v.Blocks, v.First)
		}
		say("%d blocks were read back after %d writes, %d lost", v.Blocks, f.load.Counts().Writes, v.Lost)
	}
	if err == nil {
		err = dev.Close()
	} else {
		dev.Abandon()
	}
	return errors.Join(err, tabulate(results, o.table))
}

// runs plays the cases in turn, so that all of them see the same machine.
func (f *failovers) runs(ctx context.Context, n int, only string, results map[string]*measured) error {
	which, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	for run := range n {
		for i := range failoverCases {
			c := &failoverCases[i]
			if !which.MatchString(c.name) {
				continue
			}
			got, err := f.once(ctx, c)
			if err != nil {
				return fmt.Errorf("%s, run %d: %w", c.name, run+1, err)
			}
			if results[c.name] == nil {
				results[c.name] = &measured{}
			}
			results[c.name].gaps = append(results[c.name].gaps, got.Gap)
			results[c.name].slowest = append(results[c.name].slowest, got.Slowest)
			f.say("%s, run %d: no answer for %v, slowest write %v", c.name, run+1, got.Gap.Round(time.Millisecond), got.Slowest.Round(time.Millisecond))
		}
	}
	return nil
}

// tabulate prints the results, writes them to a file, and compares them with
// what they may be.
func tabulate(results map[string]*measured, file string) error {
	var b strings.Builder
	var errs []error
	fmt.Fprintf(&b, "| what happens | runs | slowest write: median | worst | may be | longest without an answer: median | worst |\n|---|---|---|---|---|---|---|\n")
	second := func(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
	for _, c := range failoverCases {
		m := results[c.name]
		if m == nil {
			continue
		}
		slices.Sort(m.gaps)
		slices.Sort(m.slowest)
		last, mid := len(m.gaps)-1, len(m.gaps)/2
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s, %s | %s | %s |\n", c.name, len(m.gaps), second(m.slowest[mid]), second(m.slowest[last]),
			second(c.median), second(c.worst), second(m.gaps[mid]), second(m.gaps[last]))
		if m.slowest[mid] > c.median || m.slowest[last] > c.worst {
			errs = append(errs, fmt.Errorf("%s: writes took %s (median) and %s (worst), more than they may", c.name, second(m.slowest[mid]), second(m.slowest[last])))
		}
	}
	fmt.Print(b.String())
	if file != "" {
		errs = append(errs, os.WriteFile(file, []byte(b.String()), 0o600))
	}
	return errors.Join(errs...)
}
