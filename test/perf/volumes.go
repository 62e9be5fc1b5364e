package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
	"sango/test/harness"
)

// volumeCounts are how many volumes a node has.
func (p *perf) volumeCounts() []int {
	if p.short {
		return []int{1, 100}
	}
	return []int{1, 100, 10_000}
}

// node is a demo with many volumes, all mapped; the first one is measured.
type node struct {
	count int
	dir   string
	size  int64 // of the first volume
	file  string
}

// volumesGroup measures what volumes cost that are there and have nothing to do. Each run starts the node anew.
func (p *perf) volumesGroup(ctx context.Context, dir string) error {
	var nodes []*node
	for _, n := range p.volumeCounts() {
		nodes = append(nodes, &node{count: n, dir: filepath.Join(dir, fmt.Sprint(n)), size: min(p.size, 256<<20)})
	}
	if len(p.wanted(p.volumeCases(nodes))) == 0 {
		return nil
	}
	for _, n := range nodes {
		begin := time.Now()
		if err := p.makeNode(ctx, n); err != nil {
			return err
		}
		p.say("made %s in %.1f s", several(n.count, "volume"), time.Since(begin).Seconds())
	}
	return p.runCases(ctx, "volumes", p.wanted(p.volumeCases(nodes)))
}

func (p *perf) volumeCases(nodes []*node) []*benchCase {
	load := load{pattern: "randread", request: 4 << 10, depth: 32}
	last := len(nodes) - 1
	c := &benchCase{
		id: "volumes/start-and-read/sango-bench", title: "start, then " + load.String() + " of one volume", client: "sango-bench", main: iops,
		claims: []claim{versus(last, 0, iops, 0, 0), versus(last, 0, serverCPU, 0, 0)},
	}
	for i, n := range nodes {
		c.contenders = append(c.contenders, contender{name: several(n.count, "volume"), run: func(ctx context.Context, d time.Duration) (outcome, error) {
			return p.startAndRead(ctx, n, load, d)
		}})
		bar := func(x float64) float64 {
			if n.count == 10_000 {
				return x
			}
			return 0
		}
		c.claims = append(c.claims, absolute(i, ready, bar(5)), absolute(i, peak, bar(250)))
	}
	return []*benchCase{c}
}

// makeNode makes the volumes of a node and stops it.
func (p *perf) makeNode(ctx context.Context, n *node) (err error) {
	if err := os.Mkdir(n.dir, 0o755); err != nil {
		return err
	}
	d, _, err := p.startSango(ctx, n.dir, 1, volumeFlag("v", n.size))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	if n.file, err = fileOf(d.Dir(), n.size); err != nil {
		return err
	}
	if err := p.fill(ctx, &volume{file: n.file, url: d.URL(0, 0), size: n.size}); err != nil {
		return err
	}
	return addVolumes(ctx, d, n.count-1)
}

// addVolumes makes thin volumes of 1 GiB, and maps them.
func addVolumes(ctx context.Context, d *harness.Demo, count int) error {
	c := api.NewClient(d.Dir())
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	numbers := make(chan int)
	errs := make(chan error, atOnce)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := range numbers {
				if err := addVolume(ctx, c, d.Ready.Target, fmt.Sprintf("more-%05d", i)); err != nil {
					errs <- err
					cancel()
					return
				}
			}
		})
	}
	for i := 0; i < count && ctx.Err() == nil; i++ {
		select {
		case numbers <- i:
		case <-ctx.Done():
		}
	}
	close(numbers)
	wg.Wait()
	close(errs)
	for err := range errs {
		return err
	}
	return ctx.Err()
}

func addVolume(ctx context.Context, c *api.Client, target, name string) error {
	if _, err := c.CreateVolume(ctx, connect.NewRequest(&v1.CreateVolumeRequest{Spec: &v1.VolumeSpec{Name: name, Size: 1 << 30}})); err != nil {
		return err
	}
	_, err := c.MapVolume(ctx, connect.NewRequest(&v1.MapVolumeRequest{Target: target, Volume: name}))
	return err
}

// startAndRead starts the node, makes the load and stops it.
func (p *perf) startAndRead(ctx context.Context, n *node, l load, d time.Duration) (o outcome, err error) {
	begin := time.Now()
	demo, s, err := p.startSango(ctx, n.dir, 1)
	if err != nil {
		return o, err
	}
	took := time.Since(begin)
	defer func() { err = errors.Join(err, demo.Stop()) }()
	resident, err := s.memory("VmRSS")
	if err != nil {
		return o, err
	}
	before, err := s.cpu()
	if err != nil {
		return o, err
	}
	if o, err = sangoBench(p.sango, demo.URL(0, 0), l, true)(ctx, d); err != nil {
		return o, err
	}
	after, err := s.cpu()
	if err != nil {
		return o, err
	}
	o.sample[ready], o.sample[rss] = took.Seconds(), resident
	o.sample[serverCPU] = (after - before).Seconds() / o.requests * 1e6
	if o.sample[peak], err = s.memory("VmHWM"); err != nil {
		return o, err
	}
	return o, (&volume{file: n.file, size: n.size}).cached(ctx)
}
