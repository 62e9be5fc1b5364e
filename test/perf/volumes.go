package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	var files []*volume
	for _, n := range nodes {
		files = append(files, &volume{file: n.file, size: n.size})
	}
	if err := fill(ctx, files...); err != nil {
		return err
	}
	return p.runCases(ctx, p.wanted(p.volumeCases(nodes)))
}

func (p *perf) volumeCases(nodes []*node) []*benchCase {
	load := load{pattern: "randread", request: 4 << 10, depth: 32}
	last := len(nodes) - 1
	c := &benchCase{
		id: "volumes/start-and-read/sango-bench", title: load.String() + ", of one volume after a start", client: "sango-bench", main: iops,
		claims: []claim{versus(last, 0, iops, 0, 0), versus(last, 0, serverCPU, 0, 0), versus(last, 0, manageTime, 0, 0)},
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

// atATime is how many volumes one start of a node makes: it has to serve in time.
const atATime = 1000

// makeNode makes the volumes of a node and stops it.
func (p *perf) makeNode(ctx context.Context, n *node) error {
	if err := os.Mkdir(n.dir, 0o755); err != nil {
		return err
	}
	for made := 0; made < n.count; {
		var flags []string
		for ; made < n.count && len(flags) < atATime; made++ {
			if made == 0 {
				flags = append(flags, volumeFlag("v", n.size))
				continue
			}
			flags = append(flags, volumeFlag(fmt.Sprintf("more-%05d", made), 1<<30))
		}
		if err := p.addVolumes(ctx, n, flags); err != nil {
			return err
		}
	}
	return nil
}

// addVolumes starts the node with new volumes, and stops it.
func (p *perf) addVolumes(ctx context.Context, n *node, flags []string) (err error) {
	d, _, err := p.startSango(ctx, n.dir, 1, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	if n.file != "" {
		return nil
	}
	n.file, err = fileOf(d.Dir(), n.size)
	return err
}

// managed is how many volumes are made and deleted to see what that costs.
const managed = 10

// manage returns the milliseconds that it takes to make a volume and delete it.
func manage(ctx context.Context, d *harness.Demo) (float64, error) {
	c := api.NewClient(d.Dir())
	defer c.Close()
	begin := time.Now()
	for i := range managed {
		name := fmt.Sprintf("new-%d", i)
		if _, err := c.CreateVolume(ctx, connect.NewRequest(&v1.CreateVolumeRequest{Spec: &v1.VolumeSpec{Name: name, Size: 1 << 30}})); err != nil {
			return 0, err
		}
		if _, err := c.DeleteVolume(ctx, connect.NewRequest(&v1.DeleteVolumeRequest{Name: name})); err != nil {
			return 0, err
		}
	}
	return time.Since(begin).Seconds() * 1e3 / managed, nil
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
	if o.sample[manageTime], err = manage(ctx, demo); err != nil {
		return o, err
	}
	return o, (&volume{file: n.file, size: n.size}).cached(ctx)
}
