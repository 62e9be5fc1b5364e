package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"sango/internal/pause"
	"sango/test/chaos/history"
)

// load is all hosts at work.
type load struct {
	site    *site
	rec     *history.Recorder
	volumes []*volume
	seed    uint64
	pause   time.Duration // between two commands of a worker, on the average
	timeout time.Duration // of hosts without a fence
	ping    time.Duration // after what silence the multipath hosts give a path up; 0: the default
	ends    context.Context

	hosts   []*host
	plains  []*plain
	arenas  []*arena
	rivals  []*plain
	janitor *plain         // does what the test itself needs
	wg      sync.WaitGroup // of the workers
	events  sync.WaitGroup // of what sessions tell the arenas

	mu      sync.Mutex // guards what follows
	errs    []error
	longest map[string]*history.Op
}

// areaTime is how long an area is used.
const areaTime = 12 * time.Second

// workers is how many requests a host has under way on a volume.
const workers = 3

// open makes all hosts. Volumes are there.
func (l *load) open(ctx context.Context) error {
	l.longest = map[string]*history.Op{}
	t := l.site.topology
	for i := range t.hosts {
		h, err := l.newHost(ctx, i)
		if err != nil {
			return err
		}
		l.hosts = append(l.hosts, h)
	}
	for i := range t.plain {
		l.plains = append(l.plains, l.newPlain(fmt.Sprintf("dm%d", i), t.hosts+i, l.timeout, nil))
	}
	for i := range t.rivals {
		l.rivals = append(l.rivals, l.newPlain(fmt.Sprintf("rival%d", i), t.hosts+t.plain+i, l.timeout, l.nexusLost))
	}
	l.janitor = l.newPlain("janitor", t.machines()-1, l.timeout, nil)
	for _, v := range l.volumes {
		if v.reserved {
			l.arenas = append(l.arenas, &arena{load: l, volume: v, six: strings.HasSuffix(v.name, "six")})
		}
	}
	return nil
}

// start puts everything to work until ctx ends.
func (l *load) start(ctx context.Context) {
	r := rand.New(rand.NewPCG(l.seed, 0xa4ea))
	worker := uint64(0)
	run := func(f func(seed uint64)) {
		worker++
		seed := l.seed<<8 + worker
		l.wg.Go(func() { f(seed) })
	}
	for _, v := range l.volumes {
		if v.reserved {
			continue
		}
		v.next(r)
		rotate := rand.New(rand.NewPCG(l.seed, uint64(v.lun)))
		l.wg.Go(func() {
			for pause.For(ctx, areaTime) {
				v.next(rotate)
			}
		})
		for range workers {
			for _, h := range l.plains {
				run(func(seed uint64) { h.work(ctx, v, seed) })
			}
		}
	}
	for _, h := range l.hosts {
		for _, d := range h.disks {
			for range workers {
				run(func(seed uint64) { d.work(ctx, seed) })
			}
		}
	}
	for _, a := range l.arenas {
		for _, h := range l.rivals {
			for range workers - 1 {
				run(func(seed uint64) { a.work(ctx, h, seed) })
			}
		}
		l.wg.Go(func() { a.keep(ctx) })
	}
}

// wait waits until the workers, whose time is over, have ended what they did.
func (l *load) wait(limit time.Duration) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.wg.Wait()
	}()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
		return fmt.Errorf("requests hang: not all were answered %v after the last fault was over", limit)
	}
}

// verify reads all areas again.
func (l *load) verify() error {
	var errs []error
	for _, v := range l.volumes {
		for _, a := range v.all {
			errs = append(errs, l.janitor.verify(a))
		}
	}
	return errors.Join(errs...)
}

func (l *load) close() {
	for _, h := range l.hosts {
		h.close()
	}
	for _, h := range slices.Concat(l.plains, l.rivals, []*plain{l.janitor}) {
		h.close()
	}
	l.events.Wait()
}

// think waits for a random time, and reports whether ctx goes on.
func (l *load) think(ctx context.Context, r *rand.Rand) bool {
	return pause.For(ctx, time.Duration(r.ExpFloat64()*float64(l.pause)))
}

// fail keeps an error that the run is to end with.
func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) < 20 {
		l.errs = append(l.errs, err)
	}
}

// failed returns the errors.
func (l *load) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}

// took notes how long a command took.
func (l *load) took(o *history.Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.longest[o.Host]; m == nil || o.Return-o.Call > m.Return-m.Call {
		c := *o
		c.Vals = nil
		l.longest[o.Host] = &c
	}
}

func (l *load) volumeOf(name string) *volume {
	name, _, _ = strings.Cut(name, ":")
	if i := slices.IndexFunc(l.volumes, func(v *volume) bool { return v.name == name }); i >= 0 {
		return l.volumes[i]
	}
	return nil
}

// blockOf returns the block size of the volume of o.
func (l *load) blockOf(o *history.Op) int {
	if v := l.volumeOf(o.Volume); v != nil {
		return v.block
	}
	return 512
}

// areaOf returns the area that o is in, nil if there is none.
func (l *load) areaOf(o *history.Op) *area {
	v := l.volumeOf(o.Volume)
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, a := range v.all {
		if a.base <= o.LBA && o.LBA < a.base+areaBlocks {
			return a
		}
	}
	return nil
}

// nexusLost tells the arenas that a nexus of a rival has ended.
func (l *load) nexusLost(p *path, end nexusEnd) {
	for _, a := range l.arenas {
		if end.volume == "" || end.volume == a.volume.name {
			a.nexusLost(p, end.from(a.volume.name), end.to)
		}
	}
}
