// Command pingpong has two hosts that insist on different gateways for the same volume, as hosts do that take each
// other's paths for failed. The volume must not move for it: what comes to the wrong gateway is passed on to the owner.
// How fast that is, beside the direct path, is measured in turns. Nor must it move to and fro for hosts that may say
// which gateway is to serve it, and do not agree.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"sango/test/harness"
)

const (
	volume = "disk"
	target = "iqn.2026-11.example:pingpong"
)

func main() {
	sango := flag.String("sango", "bin/sango", "the sango `program`")
	m := measure{}
	flag.IntVar(&m.rounds, "rounds", 9, "of measurements; what has no bar gets half as many")
	flag.DurationVar(&m.length, "time", 2*time.Second, "of each measurement")
	flag.Float64Var(&m.least, "least", 0.5, "`share` of the direct path's throughput that the way through another gateway must have, at 64k")
	harness.Main("pingpong", func(ctx context.Context) error { return run(ctx, *sango, m) })
}

// measure says how the two ways are compared.
type measure struct {
	rounds int
	length time.Duration
	least  float64
}

// load is one way to use the volume.
type load struct{ rw, bs, depth string }

var loads = []load{
	{"randread", "64k", "16"}, {"randwrite", "64k", "16"}, {"randread", "4k", "32"}, {"randwrite", "4k", "32"}, {"randread", "4k", "1"}, {"randwrite", "4k", "1"},
}

// barred reports whether the way through another gateway must not be too slow.
func (l load) barred() bool { return l.bs == "64k" }

// speed is what a measurement gave.
type speed struct {
	MBs  float64 `json:"mb_s"`
	IOPS float64 `json:"iops"`
}

// insisting is a host that uses one gateway alone.
type insisting struct{ sango, url, offset string }

func (h insisting) bench(ctx context.Context, l load, length time.Duration) (s speed, err error) {
	out, err := harness.Run(ctx, length+time.Minute, h.sango, "bench", h.url, "--rw", l.rw, "--bs", l.bs, "--depth", l.depth, "--time", length.String(),
		"--offset", h.offset, "--size", "64M", "--destroy", "-o", "json")
	if err != nil {
		return s, err
	}
	var r struct{ Read, Write *speed }
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return s, err
	}
	switch {
	case r.Read != nil:
		return *r.Read, nil
	case r.Write != nil:
		return *r.Write, nil
	}
	return s, errors.New("the load has measured nothing")
}

func run(ctx context.Context, sango string, m measure) (err error) {
	dir, err := os.MkdirTemp("", "pingpong")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := harness.StartCluster(ctx, harness.ClusterOptions{Binary: sango, Dir: dir, Gateways: 3})
	if err != nil {
		return err
	}
	defer c.Close()
	for _, args := range [][]string{
		{"target", "create", target, "--open"}, {"volume", "create", volume, "--size", "1G"}, {"target", "map", target, volume},
	} {
		if _, err := c.Run(ctx, 0, args...); err != nil {
			return err
		}
	}
	if err := c.AwaitWhole(ctx); err != nil {
		return err
	}
	owner := c.Owner(ctx, volume)
	other := (owner + 1) % len(c.Portals)
	before, err := c.Epoch(ctx, owner, volume)
	if err != nil {
		return err
	}
	direct := insisting{sango, fmt.Sprintf("iscsi://%s/%s/0", c.Portals[owner], target), "0"}
	relayed := insisting{sango, fmt.Sprintf("iscsi://%s/%s/0", c.Portals[other], target), "64M"}
	if err := both(ctx, direct, relayed, m.length); err != nil {
		return err
	}
	slow := compare(ctx, direct, relayed, m)
	after, err := c.Epoch(ctx, other, volume)
	if err != nil {
		return errors.Join(slow, err)
	}
	fmt.Printf("the volume was served under epoch %d, and is under epoch %d\n", before, after)
	if after != before {
		return errors.Join(slow, fmt.Errorf("the volume moved %d times", after-before))
	}
	return errors.Join(slow, choose(ctx, c, owner))
}

// both uses the volume from both hosts at the same time.
func both(ctx context.Context, direct, relayed insisting, length time.Duration) error {
	var errs [2]error
	var got [2]speed
	var wg sync.WaitGroup
	for _, rw := range []string{"randwrite", "randread", "randwrite", "randread"} { // both come and go
		for i, h := range []insisting{direct, relayed} {
			wg.Go(func() {
				s, err := h.bench(ctx, load{rw, "64k", "16"}, length)
				got[i], errs[i] = s, errors.Join(errs[i], err)
			})
		}
		wg.Wait()
		fmt.Printf("both hosts at the same time, %s 64k, depth 16: %.0f MB/s directly, %.0f MB/s through another gateway\n", rw, got[0].MBs, got[1].MBs)
	}
	return errors.Join(errs[:]...)
}

// compare measures both hosts in turns.
func compare(ctx context.Context, direct, relayed insisting, m measure) error {
	var errs []error
	fmt.Printf("| load | direct | through another gateway | ratio | lowest to highest |\n|---|---|---|---|---|\n")
	for _, l := range loads {
		var d, r, ratios []float64
		n := m.rounds
		if !l.barred() {
			n = (n + 1) / 2
		}
		for range n {
			a, err := direct.bench(ctx, l, m.length)
			if err != nil {
				return err
			}
			b, err := relayed.bench(ctx, l, m.length)
			if err != nil {
				return err
			}
			d, r, ratios = append(d, a.IOPS), append(r, b.IOPS), append(ratios, b.IOPS/a.IOPS)
		}
		ratio := median(ratios)
		fmt.Printf("| %s %s, depth %s | %.0f IOPS | %.0f IOPS | %.2f | %.2f–%.2f |\n",
			l.rw, l.bs, l.depth, median(d), median(r), ratio, slices.Min(ratios), slices.Max(ratios))
		if l.barred() && ratio < m.least {
			errs = append(errs, fmt.Errorf("%s %s: %.2f of the direct path, less than %.1f", l.rw, l.bs, ratio, m.least))
		}
	}
	return errors.Join(errs...)
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}
