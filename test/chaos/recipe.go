package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sango/internal/defect"
	"sango/test/chaos/world"
	"sango/test/harness"
)

// recipe is a schedule that makes it likely that one rule is needed: whoever
// switches that rule off should see a violation.
type recipe struct {
	off string // the switches of package defect
	top topology
	// extra is more configuration of the gateways.
	extra string
	ping  time.Duration // after what silence the multipath hosts give a path up; 0: the default
	plan  func(r *rand.Rand, t topology) []fault
}

// recipes by rule. What a rule is good against is often covered by another one
// as well: then that is off too.
var recipes = map[string]*recipe{
	// The owner is paused as a virtual machine is, and its clock with it: it
	// believes in its right when it goes on, while another one serves.
	"R2": {off: "R2,clock", top: several3, plan: func(*rand.Rand, topology) (plan []fault) {
		for at := 4 * time.Second; at < recipeTime-10*time.Second; at += 24 * time.Second {
			plan = append(plan,
				fault{at: at, last: 8 * time.Second, kind: "stop-gateway", owner: reservedVolume},
				fault{at: at, last: 14 * time.Second, kind: "cut-gateway-etcds", owner: reservedVolume})
		}
		return plan
	}},
	// The owner loses the metadata and nothing else, goes on with what it knows,
	// and nobody kills it. One host stays with it, another one comes to the next,
	// and a disk that is slow leaves one time to write between a comparison of the
	// other one and its write.
	"R3": {off: "R3,R2", top: several3, plan: func(_ *rand.Rand, t topology) (plan []fault) {
		for at := 4 * time.Second; at < recipeTime-10*time.Second; at += 20 * time.Second {
			plan = append(plan,
				fault{at: at - time.Second, kind: "use-apart", owner: "small"},
				fault{at: at, last: 12 * time.Second, kind: "cut-gateway-etcds", owner: "small"},
				fault{at: at + 5*time.Second, last: 6 * time.Second, kind: "slow-disk", a: t.gateways, arg: 50 * time.Millisecond})
		}
		return plan
	}},
	// What a host sends takes longer than it waits: the gateway has to notice the
	// silence, since the host has sent its writes again when they come.
	"R4a": {off: "R4a", top: single3, plan: func(_ *rand.Rand, t topology) (plan []fault) {
		for at := 3 * time.Second; at < recipeTime-12*time.Second; at += 8 * time.Second {
			for h := range t.plain {
				plan = append(plan, fault{at: at, last: 3 * time.Second, kind: "delay-host-portal", a: t.hosts + h, current: true, way: 1, arg: hostTimeout + 1500*time.Millisecond})
			}
		}
		return plan
	}},
	// What waits in a socket behind a write to a disk that is stuck, and is for
	// another disk, is old when its turn comes. Its host is cut off, so that its
	// going does not tell.
	"R4b": {off: "R4b", top: spare3, plan: func(_ *rand.Rand, t topology) (plan []fault) {
		for at := 3 * time.Second; at < recipeTime-12*time.Second; at += 14 * time.Second {
			plan = append(plan, fault{at: at, last: hostTimeout + 2500*time.Millisecond, kind: "stuck-disk", a: 1})
			for h := range t.plain {
				plan = append(plan, fault{at: at + 400*time.Millisecond, last: 9 * time.Second, kind: "cut-host-portal", a: t.hosts + h, current: true})
			}
		}
		return plan
	}},
	// What a gateway has not read when it is stopped is old when it goes on, and
	// there are two who could tell: itself, and the owner to which it passes it on.
	// With two gateways, and heartbeats that count for long, it is not declared dead.
	"R4c": {off: "R4c,R4b", top: several2, extra: "ttl: 10s\n", plan: func(_ *rand.Rand, t topology) (plan []fault) {
		for at := 3 * time.Second; at < recipeTime-14*time.Second; at += 15 * time.Second {
			plan = append(plan,
				fault{at: at, kind: "use-front", owner: "small"},
				fault{at: at + time.Second, last: hostTimeout + 2500*time.Millisecond, kind: "stop-gateway", owner: "small", front: true})
			for h := range t.plain {
				plan = append(plan, fault{at: at + 1400*time.Millisecond, last: 9 * time.Second, kind: "cut-host-portal", a: t.hosts + h, current: true})
			}
		}
		return plan
	}},
	// A path is slower than its host has patience.
	"R4d": {off: "R4d", top: single3, ping: time.Second, plan: func(r *rand.Rand, t topology) (plan []fault) {
		for at := 3 * time.Second; at < recipeTime-6*time.Second; at += 5 * time.Second {
			plan = append(plan, fault{at: at, last: 2 * time.Second, kind: "delay-host-portal", a: r.IntN(t.hosts), b: r.IntN(t.portals), way: 1, arg: 2 * time.Second})
		}
		return plan
	}},
	// The owner dies, or is cut off, when it has just answered.
	"R5": {off: "R5", top: several3, plan: func(*rand.Rand, topology) (plan []fault) {
		for at := 4 * time.Second; at < recipeTime-10*time.Second; at += 20 * time.Second {
			plan = append(plan, fault{at: at, last: 8 * time.Second, kind: "cut-gateway-etcds", owner: reservedVolume})
			plan = append(plan, fault{at: at + 12*time.Second, last: time.Second, kind: "kill-gateway", owner: reservedVolume})
		}
		return plan
	}},
}

// The topologies of the recipes. Hosts that only stand by would cost time.
var (
	single3  = topology{gateways: 1, portals: 3, hosts: 2, plain: 2, rivals: 1}
	spare3   = topology{gateways: 1, portals: 3, hosts: 2, plain: 2, rivals: 1, spare: true}
	several2 = topology{gateways: 2, portals: 1, etcds: 3, hosts: 1, plain: 2, rivals: 1}
	several3 = topology{gateways: 3, portals: 1, etcds: 3, hosts: 1, plain: 2, rivals: 3}
)

const (
	// recipeTime is how long a run is that looks for a violation.
	recipeTime = time.Minute
	// recipeRuns is how many there are at most.
	recipeRuns = 20
	// reservedVolume is the volume with persistent reservations.
	reservedVolume = reservedPrefix + "pr"
)

// planOf draws the faults of a recipe.
func (c *recipe) planOf(seed uint64) []fault {
	plan := c.plan(rand.New(rand.NewPCG(seed, 0xdefec7)), c.top)
	slices.SortStableFunc(plan, func(a, b fault) int { return cmp.Compare(a.at, b.at) })
	return plan
}

// recipeOf returns the recipe that the options name, nil where they name none.
func (o *options) recipeOf() (*recipe, error) {
	name := o.defects
	if name == "" {
		name = o.recipe
	}
	if name == "" {
		return nil, nil
	}
	c := recipes[name]
	if c == nil {
		return nil, fmt.Errorf("there is no recipe %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(recipes)), ", "))
	}
	return c, nil
}

// seeing plays the recipe with the rule switched off, with one seed after the
// other, until a run ends with a violation.
func (o *options) seeing(ctx context.Context, c *recipe, dir string) error {
	if !defect.Built {
		return errors.New("this program can't switch rules off: build it with -tags defects, as 'make chaos' does")
	}
	sango := filepath.Join(dir, "sango")
	if _, err := harness.Run(ctx, 10*time.Minute, "go", "build", "-tags", "defects", "-o", sango, "./cmd/sango"); err != nil {
		return err
	}
	if err := os.Setenv("SANGO_DEFECTS", c.off); err != nil {
		return err
	}
	args := os.Args
	for run := range recipeRuns {
		seed := o.seed + uint64(run)
		story := filepath.Join(o.dir, fmt.Sprint(seed), "story")
		if err := os.RemoveAll(filepath.Dir(story)); err != nil {
			return err
		}
		os.Args = append(slices.Clone(args), fmt.Sprintf("-seed=%d", seed), "-sango="+sango)
		code, err := runInCell(dir)
		if err != nil {
			return err
		}
		if _, err := os.Stat(story); err == nil {
			fmt.Printf("without %s (off: %s) run %d found a violation: %s\n", o.defects, c.off, run+1, story)
			return nil
		}
		fmt.Printf("without %s (off: %s) run %d found nothing (exit status %d)\n", o.defects, c.off, run+1, code)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("without %s no run of %d found a violation", o.defects, recipeRuns)
}

// runInCell is a run with disks of its own, in dir.
func runInCell(dir string) (int, error) {
	own, err := os.MkdirTemp(dir, "run")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(own) }() // disks alone: what is worth keeping is elsewhere
	for _, program := range []string{"etcd"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
			if err := os.Link(filepath.Join(dir, program), filepath.Join(own, program)); err != nil {
				return 1, err
			}
		}
	}
	return world.RunInCell(own)
}
