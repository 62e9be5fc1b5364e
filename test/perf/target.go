package main

import (
	"context"
	"errors"
	"fmt"

	"sango/test/harness"
)

// startSango starts a demo with the volumes.
func (p *perf) startSango(ctx context.Context, dir string, portals int, volumes ...string) (*harness.Demo, *process, error) {
	o := harness.DemoOptions{Binary: p.sango, Dir: dir, Volumes: volumes}
	for range portals {
		o.Portals = append(o.Portals, "127.0.0.1:0")
	}
	d, err := harness.StartDemo(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	return d, &process{name: "sango", pid: d.PID()}, nil
}

// bars are those of one load on Sango's target beside tgt.
type bars struct {
	load
	bar, goal float64 // of the load's metric
	cpu       float64 // bar of the server's processor time for a request
	cpuGoal   float64
	digests   float64 // bar of Sango with digests beside Sango without
}

var targetLoads = []bars{
	{load: load{pattern: "randread", request: 4 << 10, depth: 1}, bar: 1.2, goal: 1.8},
	{load: load{pattern: "randwrite", request: 4 << 10, depth: 1}, bar: 1.2, goal: 1.6},
	{load: load{pattern: "randread", request: 4 << 10, depth: 32}, bar: 3.0, goal: 3.8, cpu: 0.27, cpuGoal: 0.15, digests: 0.85},
	{load: load{pattern: "randwrite", request: 4 << 10, depth: 32}, bar: 3.0, goal: 3.7},
	{load: load{pattern: "randread", request: 4 << 10, depth: 32, sessions: 4}, bar: 5.5, goal: 7},
	{load: load{pattern: "randwrite", request: 4 << 10, depth: 32, sessions: 4}, bar: 4.0, goal: 5},
	{load: load{pattern: "randread", request: 64 << 10, depth: 16}, bar: 1.5, goal: 1.9, digests: 0.85},
	{load: load{pattern: "randwrite", request: 64 << 10, depth: 16}, bar: 1.8, goal: 2.1, digests: 0.85},
	{load: load{pattern: "read", request: 1 << 20, depth: 8}, bar: 1.4, goal: 1.7},
	{load: load{pattern: "write", request: 1 << 20, depth: 8}, bar: 2.3, goal: 2.8},
}

// The same loads, as far as other clients can make them. QEMU's are sequential: only long ones have a bar.
var (
	perfLoads = []bars{
		{load: load{pattern: "randread", request: 4 << 10, depth: 1}, bar: 1.2, goal: 1.8},
		{load: load{pattern: "randread", request: 4 << 10, depth: 32}, bar: 3.0, goal: 3.8},
		{load: load{pattern: "randread", request: 64 << 10, depth: 16}, bar: 1.5, goal: 1.9},
	}
	qemuLoads = []bars{
		{load: load{pattern: "read", request: 4 << 10, depth: 32}},
		{load: load{pattern: "write", request: 4 << 10, depth: 32}},
		{load: load{pattern: "read", request: 1 << 20, depth: 8}, bar: 1.4, goal: 1.7},
		{load: load{pattern: "write", request: 1 << 20, depth: 8}, bar: 2.3, goal: 2.8},
	}
)

// pair is Sango and tgt, each with a volume of its own.
type pair struct {
	sango, tgt     *process
	onSango, onTgt volume
}

// targetGroup measures the target and tgt over files of equal size, and what TCP and those files allow.
func (p *perf) targetGroup(ctx context.Context, dir string) error {
	return p.withBoth(ctx, dir, p.targetCases)
}

// withBoth runs those of the cases that are wanted, on Sango and tgt over files of equal size in equal state.
func (p *perf) withBoth(ctx context.Context, dir string, cases func(*pair) []*benchCase) (err error) {
	if len(p.wanted(cases(&pair{}))) == 0 {
		return nil
	}
	d, s, err := p.startSango(ctx, dir, 1, volumeFlag("v", p.size))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	t, err := startTgtd(ctx, dir, p.size)
	if err != nil {
		return err
	}
	defer t.stop()
	file, err := fileOf(d.Dir(), p.size)
	if err != nil {
		return err
	}
	both := &pair{
		sango: s, onSango: volume{url: d.URL(0, 0), file: file, size: p.size},
		tgt: t.process, onTgt: volume{url: t.url(), file: t.file, size: p.size},
	}
	if err := fill(ctx, &both.onSango, &both.onTgt); err != nil {
		return err
	}
	if err := p.runCases(ctx, p.wanted(cases(both))); err != nil {
		return err
	}
	return errors.Join(both.onSango.cached(ctx), both.onTgt.cached(ctx))
}

// targetCases are the limits, and the loads of each client.
func (p *perf) targetCases(b *pair) []*benchCase {
	cases := p.limitCases(b)
	for _, l := range targetLoads {
		c := p.besideTgt(b, l, "sango-bench", func(url string) client { return sangoBench(p.sango, url, l.load, true) })
		c.claims = append(c.claims, ratio(p99, 1, 0.6))
		if l.digests > 0 {
			with := l.load
			with.digests = true
			c.contenders = append(c.contenders, contender{name: "sango, both digests", server: b.sango, run: sangoBench(p.sango, b.onSango.url, with, true), settle: c.contenders[0].settle})
			c.claims = append(c.claims, versus(2, 0, l.metric(), l.digests, 0.93))
		}
		cases = append(cases, c)
	}
	for _, l := range perfLoads {
		cases = append(cases, p.besideTgt(b, l, "iscsi-perf", func(url string) client { return iscsiPerf(url, l.load) }))
	}
	for _, l := range qemuLoads {
		cases = append(cases, p.besideTgt(b, l, "qemu-img", func(url string) client { return qemuImg(url, l.load) }))
	}
	return cases
}

// besideTgt is a load on Sango and on tgt.
func (p *perf) besideTgt(b *pair, l bars, name string, c func(url string) client) *benchCase {
	one := func(name string, server *process, v *volume) contender {
		x := contender{name: name, server: server, run: c(v.url)}
		if l.writes() {
			x.settle = v.settle
		}
		return x
	}
	return &benchCase{
		id: "target/" + l.id() + "/" + name, title: l.String(), client: name, main: l.metric(),
		contenders: []contender{one("sango", b.sango, &b.onSango), one("tgt", b.tgt, &b.onTgt)},
		claims:     []claim{ratio(l.metric(), l.bar, l.goal), ratio(serverCPU, l.cpu, l.cpuGoal)},
	}
}

// volumeFlag is the argument of --volume.
func volumeFlag(name string, size int64) string { return fmt.Sprintf("%s=%d", name, size) }
