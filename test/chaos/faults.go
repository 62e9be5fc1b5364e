package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"sango/internal/pause"
	"sango/test/chaos/history"
	"sango/test/chaos/world"
	"sango/test/harness"
)

// nemesis makes the faults of a plan happen.
type nemesis struct {
	site *site
	rec  *history.Recorder
	load *load
	say  func(format string, args ...any)
	// ruin is called before a gateway that was killed starts again, if not nil:
	// a sabotage.
	ruin func(gateway int) error

	mu    sync.Mutex // guards what follows
	rules map[string]rule
	busy  map[string]*sync.Mutex // by what a fault holds
	errs  []error
}

// rule is what a fault wants of the network.
type rule struct {
	from, to []netip.Addr
	lane     world.Lane
}

// play carries out the plan. It returns when all of it was undone.
func (n *nemesis) play(ctx context.Context, plan []fault) error {
	n.rules, n.busy = map[string]rule{}, map[string]*sync.Mutex{}
	var wg sync.WaitGroup
	began := time.Now()
	for i, f := range plan {
		if !pause.For(ctx, time.Until(began.Add(f.at))) {
			break
		}
		wg.Go(func() {
			if f.owner != "" {
				f.a = n.owner(ctx, f.owner)
				if f.front || f.kind == "use-front" {
					f.a = (f.a + 1) % len(n.site.gateways)
				}
			}
			if f.current {
				f.b = n.load.plains[f.a-n.site.hosts].inUse()
			}
			// A fault may last longer than planned: a server that has to wait for its
			// disk ends late.
			defer n.hold(&f)()
			if ctx.Err() != nil {
				return
			}
			h := history.Fault{Start: n.rec.Now(), What: f.String()}
			n.say("%v for %v", &f, f.last.Round(time.Millisecond))
			// An end by the user undoes it as well.
			if err := n.do(ctx, i, &f); err != nil {
				n.mu.Lock()
				n.errs = append(n.errs, fmt.Errorf("%v: %w", &f, err))
				n.mu.Unlock()
			}
			h.End = n.rec.Now()
			n.rec.AddFault(h)
		})
	}
	wg.Wait()
	return errors.Join(n.errs...)
}

// hold waits until nobody else has what f needs, and returns what gives it back.
func (n *nemesis) hold(f *fault) (release func()) {
	names := kindOf(f.kind).holds(f)
	slices.Sort(names)
	var held []*sync.Mutex
	for _, name := range names {
		n.mu.Lock()
		m := n.busy[name]
		if m == nil {
			m = &sync.Mutex{}
			n.busy[name] = m
		}
		n.mu.Unlock()
		m.Lock()
		held = append(held, m)
	}
	return func() {
		for _, m := range held {
			m.Unlock()
		}
	}
}

// do carries out one fault and undoes it.
func (n *nemesis) do(ctx context.Context, id int, f *fault) error {
	s := n.site
	undo := context.WithoutCancel(ctx)
	switch f.kind {
	case "kill-gateway":
		return n.again(ctx, undo, s.gateways[f.a], f, true)
	case "restart-gateway":
		return n.again(ctx, undo, s.gateways[f.a], f, false)
	case "kill-etcd":
		return n.again(ctx, undo, s.etcds[f.a], f, true)
	case "restart-etcds":
		return n.all(ctx, undo, f, s.etcds)
	case "kill-everything":
		return n.all(ctx, undo, f, slices.Concat(s.etcds, s.gateways))
	case "stop-gateway":
		return n.pause(ctx, s.gateways[f.a], f)
	case "stop-etcd":
		return n.pause(ctx, s.etcds[f.a], f)
	case "kill-coordinator":
		return n.again(ctx, undo, s.gateways[n.coordinator(ctx)], f, true)
	case "drain-gateway":
		return n.drain(ctx, undo, f)
	case "move-volume":
		name, to := n.load.volumes[f.b].name, fmt.Sprint("gw", f.a)
		if err := s.move(ctx, (f.a+1)%len(s.gateways), name, to); err != nil { // with other faults under way nobody may be able to
			n.say("move of %s to %s: %v", name, to, err)
		}
		return nil
	case "slow-disk", "slow-etcd-disk":
		var d *world.Disk
		if f.kind == "slow-disk" {
			d = s.disks[f.a]
		} else {
			d = s.etcds[f.a].disk
		}
		ctx, cancel := context.WithTimeout(ctx, f.last)
		defer cancel()
		return d.Slow(ctx, f.arg)
	case "stuck-disk":
		d := s.disks[f.a]
		err := d.Freeze()
		pause.For(ctx, f.last)
		return errors.Join(err, d.Thaw())
	case "full-disk":
		d := s.disks[f.a]
		err := d.Fill()
		pause.For(ctx, f.last)
		return errors.Join(err, d.Empty())
	case "use-front":
		for _, h := range n.load.plains {
			h.use(f.a * n.site.portals)
		}
		return nil
	case "use-apart":
		for k, h := range n.load.plains {
			h.use((f.a + k) % len(n.site.gateways) * n.site.portals)
		}
		return nil
	case "restart-host":
		return n.load.hosts[f.a].restart(ctx, f.last)
	}
	from, to, err := n.ends(f)
	if err != nil {
		return err
	}
	lane := world.Lane{Cut: f.arg == 0, Delay: f.arg}
	name := fmt.Sprint(id)
	if f.way != 2 {
		n.set(name+">", rule{from, to, lane})
	}
	if f.way != 1 {
		n.set(name+"<", rule{to, from, lane})
	}
	pause.For(ctx, f.last)
	n.set(name+">", rule{})
	n.set(name+"<", rule{})
	return nil
}

// set changes the rule of one fault and puts the network in the state that all
// of them together want: what one cuts, another's delay does not join.
func (n *nemesis) set(name string, r rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.rules[name]
	n.site.fabric.Set(old.from, old.to, world.Lane{})
	delete(n.rules, name)
	if r.lane != (world.Lane{}) {
		n.rules[name] = r
	}
	for _, cut := range []bool{false, true} {
		for _, r := range n.rules {
			if r.lane.Cut == cut {
				n.site.fabric.Set(r.from, r.to, r.lane)
			}
		}
	}
}

// ends returns the two sides of a fault of the network.
func (n *nemesis) ends(f *fault) (a, b []netip.Addr, err error) {
	s := n.site
	portal := func(i int) []netip.Addr { return []netip.Addr{portalAddr(i/s.portals, i%s.portals)} }
	var everyPortal, everyHost []netip.Addr
	for g := range s.gateways {
		everyPortal = append(everyPortal, s.gatewayAddrs(g)...)
	}
	for i := range s.machines {
		everyHost = append(everyHost, machineAddr(i))
	}
	switch strings.TrimPrefix(strings.TrimPrefix(f.kind, "cut-"), "delay-") {
	case "host-portal":
		return []netip.Addr{machineAddr(f.a)}, portal(f.b), nil
	case "host":
		return []netip.Addr{machineAddr(f.a)}, everyPortal, nil
	case "portal":
		return everyHost, portal(f.b), nil
	case "gateway-etcd":
		return s.gatewayAddrs(f.a), []netip.Addr{etcdAddr(f.b)}, nil
	case "gateway-etcds":
		return s.gatewayAddrs(f.a), s.etcdAddrs(), nil
	case "gateways":
		return s.gatewayAddrs(f.a), s.gatewayAddrs(f.b), nil
	}
	return nil, nil, fmt.Errorf("unknown kind of fault")
}

// again ends a server and starts it again after a while.
func (n *nemesis) again(ctx, undo context.Context, x *server, f *fault, kill bool) error {
	var err error
	if kill {
		x.kill()
	} else {
		err = x.process().Stop(30 * time.Second)
	}
	pause.For(ctx, f.last)
	if i := slices.Index(n.site.gateways, x); i >= 0 && kill && n.ruin != nil {
		err = errors.Join(err, n.ruin(i))
	}
	return errors.Join(err, x.start(undo))
}

// all kills servers and starts them again.
func (n *nemesis) all(ctx, undo context.Context, f *fault, list []*server) error {
	var errs []error
	for _, x := range list {
		x.kill()
	}
	pause.For(ctx, f.last)
	for _, x := range list {
		errs = append(errs, x.launch())
	}
	for _, x := range list {
		errs = append(errs, x.await(undo))
	}
	return errors.Join(errs...)
}

func (n *nemesis) pause(ctx context.Context, x *server, f *fault) error {
	p := x.process()
	err := p.Pause()
	pause.For(ctx, f.last)
	return errors.Join(err, p.Resume())
}

// coordinator returns which gateway coordinates, as far as one of them says.
func (n *nemesis) coordinator(ctx context.Context) int {
	for i := range n.site.gateways {
		if c, err := n.site.status(ctx, i); err == nil {
			if g := n.site.number(c.GetCoordinator()); g >= 0 {
				return g
			}
		}
	}
	return 0
}

func (n *nemesis) drain(ctx, undo context.Context, f *fault) error {
	name := fmt.Sprintf("gw%d", f.a)
	run := func(ctx context.Context, verb string) error {
		var err error
		for i := range n.site.gateways { // any gateway takes the command
			if _, err = n.site.command(ctx, (f.a+1+i)%len(n.site.gateways), "gateway", verb, name); err == nil {
				return nil
			}
		}
		return err
	}
	// With other faults under way nobody may be able to take it.
	if err := run(ctx, "drain"); err != nil {
		n.say("drain of %s: %v", name, err)
	}
	pause.For(ctx, f.last)
	return harness.Await(undo, 2*time.Minute, "undrain of "+name, func() error { return run(undo, "undrain") })
}

// owner returns which gateway owns a volume, as far as one of them says.
func (n *nemesis) owner(ctx context.Context, volume string) int {
	for i := range n.site.gateways {
		if c, err := n.site.status(ctx, i); err == nil {
			if g := n.site.number(ownership(c, volume).GetOwner()); g >= 0 {
				return g
			}
		}
	}
	return 0
}
