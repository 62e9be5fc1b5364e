// Command chaos puts hosts to work on gateways whose processes are killed and
// stopped, whose networks are cut and slow, and whose disks are stuck and full,
// and checks all that the hosts saw: docs/chaos.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"sango/test/chaos/history"
	"sango/test/chaos/world"
	"sango/test/harness"
)

// options are the flags.
type options struct {
	sango, dir, check, only, extra, sabotage string
	recipe, defects, table                   string
	failovers                                bool
	runs                                     int
	seed                                     uint64
	minutes                                  float64
	pause, moves                             time.Duration
	showPlan                                 bool
	topology
}

func main() {
	var o options
	flag.StringVar(&o.sango, "sango", "bin/sango", "the sango `program`")
	flag.StringVar(&o.dir, "dir", ".cache/chaos", "`directory` for histories and logs")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1e6), "of all random choices")
	flag.Float64Var(&o.minutes, "minutes", 3, "how long there are faults")
	flag.DurationVar(&o.pause, "pause", 60*time.Millisecond, "between two commands of a worker, on the average")
	flag.DurationVar(&o.moves, "moves", 0, "how often each volume gets another owner, besides the faults")
	flag.IntVar(&o.gateways, "gateways", 3, "number of gateways")
	flag.IntVar(&o.portals, "portals", 0, "portals of each gateway (default 3 of one gateway, 1 of each of several)")
	flag.IntVar(&o.etcds, "etcds", 3, "etcd servers; 0: the metadata is in the gateways")
	flag.IntVar(&o.hosts, "hosts", 2, "hosts with Sango's multipath")
	flag.IntVar(&o.plain, "plain", 2, "hosts like dm-multipath over open-iscsi")
	flag.IntVar(&o.rivals, "rivals", 3, "hosts that fight over reservations")
	flag.StringVar(&o.only, "faults", "", "`regexp` of the kinds of fault")
	flag.StringVar(&o.extra, "extra", "", "`file` with more configuration for each gateway; {i} in it is its number, {dir} the directory of the run")
	flag.StringVar(&o.check, "check", "", "only check a history `file`")
	flag.BoolVar(&o.showPlan, "plan", false, "only print the faults")
	flag.StringVar(&o.sabotage, "sabotage", "", "break something on purpose, to see that it is found: impatient or rot")
	flag.StringVar(&o.recipe, "recipe", "", "play the `schedule` that makes a rule needed (R2 R3 R4a R4b R4c R4d R5), with its own topology")
	flag.StringVar(&o.defects, "defects", "", "the same with that `rule` switched off, up to 20 times, until there is a violation")
	flag.BoolVar(&o.failovers, "failover", false, "measure how long writes stand still when something happens, instead")
	flag.IntVar(&o.runs, "runs", 20, "of each case of -failover; -faults limits the cases")
	flag.StringVar(&o.table, "table", "", "`file` for the table of -failover")
	harness.Main("chaos", o.run)
}

func (o *options) run(ctx context.Context) error {
	recipe, err := o.recipeOf()
	if err != nil {
		return err
	}
	if recipe != nil {
		o.topology, o.minutes = recipe.top, recipeTime.Minutes()
	}
	if o.failovers {
		o.topology = topology{gateways: 3, portals: 1, etcds: 3, hosts: 1}
	}
	if o.portals == 0 {
		o.portals = 3
		if o.gateways > 1 {
			o.portals = 1
		}
	}
	var only *regexp.Regexp
	if o.only != "" {
		if only, err = regexp.Compile(o.only); err != nil {
			return err
		}
	}
	if o.moves != 0 && (o.moves < 0 || o.gateways < 2) {
		return errors.New("-moves takes a time, and several gateways")
	}
	if o.rivals*o.gateways*o.portals > history.MaxNexus {
		return fmt.Errorf("%d rivals over %d portals are more than %d nexuses: the checker has no room for them", o.rivals, o.gateways*o.portals, history.MaxNexus)
	}
	if o.check != "" {
		h, err := history.Load(o.check)
		if err != nil {
			return err
		}
		return judge(h, filepath.Dir(o.check))
	}
	length := time.Duration(o.minutes * float64(time.Minute))
	plan := newPlan(o.seed, o.topology, length, only)
	if o.sabotage == "impatient" {
		plan = impatientPlan(o.seed, o.topology, length)
	}
	if recipe != nil {
		plan = recipe.planOf(o.seed)
	}
	if o.showPlan {
		for _, f := range plan {
			fmt.Printf("%8.1f s  %v for %v\n", f.at.Seconds(), &f, f.last.Round(time.Millisecond))
		}
		return nil
	}
	if !world.InCell() {
		return o.outside(ctx, recipe)
	}
	if o.failovers {
		return o.failover(ctx)
	}
	return o.inside(ctx, recipe, plan, length)
}

// outside prepares what the run needs, and runs this program again in a cell.
func (o *options) outside(ctx context.Context, c *recipe) error {
	if err := harness.Need("ip", "mkfs.ext4", "mount"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // disks alone: what is worth keeping is elsewhere
	if o.etcds > 0 {
		if _, err := harness.Run(ctx, 10*time.Minute, "go", "build", "-o", filepath.Join(dir, "etcd"), "go.etcd.io/etcd/server/v3"); err != nil {
			return err
		}
	}
	if o.defects != "" {
		return o.seeing(ctx, c, dir)
	}
	os.Args = append(os.Args, fmt.Sprintf("-seed=%d", o.seed))
	code, err := runInCell(dir)
	if err == nil && code != 0 {
		err = errors.New("it failed")
	}
	return err
}
