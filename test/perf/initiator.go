package main

import (
	"context"
	"errors"
	"fmt"
)

// initiatorLoad is a load with Sango's initiator, and the client of libiscsi that can make the same.
type initiatorLoad struct {
	load
	peer string
	with func(url string, l load) client
}

// QEMU's loads are sequential, so ours are too beside it.
var initiatorLoads = []initiatorLoad{
	{load{pattern: "randread", request: 4 << 10, depth: 32}, "iscsi-perf", iscsiPerf},
	{load{pattern: "write", request: 4 << 10, depth: 32}, "qemu-img", qemuImg},
	{load{pattern: "read", request: 1 << 20, depth: 8}, "qemu-img", qemuImg},
	{load{pattern: "write", request: 1 << 20, depth: 8}, "qemu-img", qemuImg},
}

// reached is a volume of Sango that is served at two portals.
type reached struct {
	server *process
	volume
	second string // its URL through the other portal
}

// initiatorGroup measures clients on one volume of Sango.
func (p *perf) initiatorGroup(ctx context.Context, dir string) (err error) {
	if len(p.wanted(p.initiatorCases(&reached{}))) == 0 {
		return nil
	}
	d, s, err := p.startSango(ctx, dir, 2, volumeFlag("v", p.size))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	r := &reached{server: s, volume: volume{url: d.URL(0, 0), size: p.size}, second: d.URL(1, 0)}
	if r.file, err = fileOf(d.Dir(), p.size); err != nil {
		return err
	}
	if err := fill(ctx, &r.volume); err != nil {
		return err
	}
	if err := p.runCases(ctx, p.wanted(p.initiatorCases(r))); err != nil {
		return err
	}
	return r.cached(ctx)
}

func (p *perf) initiatorCases(r *reached) []*benchCase {
	var cases []*benchCase
	for _, l := range initiatorLoads {
		c := &benchCase{
			id: fmt.Sprintf("initiator/%s/%s", l.id(), l.peer), title: l.String(), client: "each its own", main: l.metric(),
			contenders: []contender{
				{name: "sango, two paths", server: r.server, run: sangoBench(p.sango, r.url+","+r.second, l.load, false)},
				{name: l.peer, server: r.server, run: l.with(r.url, l.load)},
				{name: "sango, one session", server: r.server, run: sangoBench(p.sango, r.url, l.load, true)},
			},
			claims: []claim{ratio(l.metric(), 1, 0), ratio(clientCPU, 0, 0), versus(2, 1, l.metric(), 0, 0)},
		}
		for i := range c.contenders {
			if l.writes() {
				c.contenders[i].settle = r.settle
			}
		}
		cases = append(cases, c)
	}
	return cases
}
