package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/block"
	"sango/internal/initiator"
	"sango/internal/multipath"
	"sango/internal/pause"
	"sango/test/chaos/history"
	"sango/test/chaos/world"
)

// host uses volumes through Sango's own multipath device, as sango attach does.
type host struct {
	*load
	name   string
	node   *world.Node
	number int
	disks  []*disk
}

// disk is a volume as a host has it. Its process may die and be followed by
// another, which takes over.
type disk struct {
	host   *host
	volume *volume

	mu   sync.RWMutex // held for reading by a request; for writing while the device changes
	dev  *multipath.Device
	run  uint64
	dead atomic.Bool // the process is: nothing more is asked of it
	lock sync.Mutex  // guards open
	// open are ops that may take effect until the next process has taken over.
	open []*history.Op
}

// commandTime is after what time the device aborts a command on a path that is
// well.
const commandTime = 20 * time.Second

func (l *load) newHost(ctx context.Context, i int) (*host, error) {
	h := &host{load: l, name: fmt.Sprintf("mp%d", i), node: l.site.machines[i], number: i}
	for _, v := range l.volumes {
		if v.reserved {
			continue
		}
		d := &disk{host: h, volume: v}
		if err := d.attach(ctx); err != nil {
			return nil, err
		}
		h.disks = append(h.disks, d)
	}
	return h, nil
}

// attach opens the device for the next run of the host. The caller holds mu, or
// is alone.
func (d *disk) attach(ctx context.Context) error {
	d.run++
	cfg := multipath.Config{
		Initiator: "iqn.2026-11.example:" + d.host.name, Group: uint64(d.host.number*100) + uint64(d.volume.lun) + 1, Run: d.run, TakeOver: d.run > 1,
		PingInterval: d.host.ping * 3 / 10, PingTimeout: d.host.ping * 7 / 10, Queue: -1, Command: commandTime, Dial: d.host.node.Dial, Logger: slog.New(slog.DiscardHandler),
	}
	for _, p := range d.host.site.portalList() {
		cfg.URLs = append(cfg.URLs, initiator.URL{Host: p, Target: targetName, LUN: d.volume.lun})
	}
	dev, err := multipath.Open(ctx, cfg)
	if err != nil {
		return fmt.Errorf("host %s, volume %s: %w", d.host.name, d.volume.name, err)
	}
	d.dev = dev
	return nil
}

// restart is the death of the host's process and the start of another after a
// while.
func (h *host) restart(ctx context.Context, after time.Duration) error {
	var wg sync.WaitGroup
	errs := make([]error, len(h.disks))
	for i, d := range h.disks {
		wg.Go(func() {
			d.mu.RLock()
			dev := d.dev
			d.mu.RUnlock()
			d.dead.Store(true)
			dev.Abandon() // ends the requests that hold mu
			d.mu.Lock()
			defer d.mu.Unlock()
			pause.For(ctx, after)
			limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
			defer cancel()
			if errs[i] = d.attach(limit); errs[i] == nil {
				d.settle(d.host.rec.Now())
				d.dead.Store(false)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// settle keeps what the former process left open: nothing of it lands after a
// command that was sent after bound.
func (d *disk) settle(bound int64) {
	d.lock.Lock()
	defer d.lock.Unlock()
	for _, o := range d.open {
		o.Bound, o.Strict = bound, true
		d.host.rec.Add(o)
	}
	d.open = nil
}

// close ends the host.
func (h *host) close() {
	for _, d := range h.disks {
		_ = d.dev.Close() // all that it did has ended, and was noted
		d.settle(history.Never)
	}
}

// work sends requests to one disk until ctx ends.
func (d *disk) work(ctx context.Context, seed uint64) {
	r := rand.New(rand.NewPCG(seed, uint64(d.host.number)))
	for d.host.think(ctx, r) {
		d.mu.RLock()
		if !d.dead.Load() {
			d.one(r)
		}
		d.mu.RUnlock()
	}
}

// one sends one request.
func (d *disk) one(r *rand.Rand) {
	v, rec := d.volume, d.host.rec
	a := v.area()
	off, n, ok := a.pick(r, areaBlocks)
	if !ok {
		return
	}
	o := &history.Op{ID: rec.NextID(), Host: d.host.name, Volume: v.name, LBA: a.base + int64(off), Kind: history.Write}
	at, size := o.LBA*int64(v.block), int64(n*v.block)
	req, flags := block.OpWrite, block.Flags(0)
	var buf []byte
	switch dice := r.IntN(100); {
	case dice < 48:
		o.Kind, req, buf = history.Read, block.OpRead, make([]byte, size)
	case dice < 92:
		o.Vals = values(o.ID, n, false)
		buf = encode(o.Vals, v.block)
		if dice < 54 {
			flags = block.FUA
		}
	case dice < 95:
		o.Vals, req = values(o.ID, n, true), block.OpWriteZeroes
		if dice == 94 {
			flags = block.MayUnmap
		}
	case dice < 98:
		o.Vals, req = values(o.ID, n, true), block.OpDiscard
	default:
		_ = block.Do(d.dev, block.OpFlush, 0, 0, 0) // that it keeps what was acknowledged is for power cuts to show
		return
	}
	o.Name = req.String()
	before := d.dev.View().Counters
	o.Call = rec.Now()
	var bufs [][]byte
	if buf != nil {
		bufs = [][]byte{buf}
	}
	err := block.Do(d.dev, req, flags, at, size, bufs...)
	o.Return, o.Outcome = rec.Now(), history.Good
	d.host.took(o)
	if o.Kind == history.Read {
		if err != nil {
			o.Outcome, o.Note = history.Refused, err.Error()
		} else {
			o.Vals = decode(buf, v.block)
		}
		rec.Add(o)
		return
	}
	if err != nil {
		a.note(o)
	}
	over, open := d.sent(o, err, d.dev.View().Counters.Retries-before.Retries)
	for _, o := range over {
		rec.Add(o)
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	d.open = append(d.open, open...)
}

// sent returns the transmissions of a change that ended with err, while the
// device sent something again so many times: those that are over, since the
// device promises that all of them are when one was answered; and those that are
// open until the next process has taken over.
func (d *disk) sent(o *history.Op, err error, retries uint64) (over, open []*history.Op) {
	if err != nil {
		o.Outcome, o.Note = history.Unknown, err.Error()
	}
	var class *block.Error
	answered := errors.As(err, &class) && (class.Class == block.NoSpace || class.Class == block.Medium || class.Class == block.Failed)
	if err != nil && !answered { // it may have been sent more than once
		return nil, []*history.Op{o, d.copyOf(o)}
	}
	if answered {
		o.Bound, o.Strict = o.Return, true
	}
	over = append(over, o)
	for range min(retries, mostCopies) { // of this one or another
		c := d.copyOf(o)
		c.Bound, c.Strict = o.Return, true
		over = append(over, c)
	}
	return over, nil
}

// copyOf is another transmission of o.
func (d *disk) copyOf(o *history.Op) *history.Op {
	c := *o
	c.ID, c.Outcome, c.Note = d.host.rec.NextID(), history.Unknown, fmt.Sprintf("perhaps #%d was sent twice", o.ID)
	return &c
}

// mostCopies bounds the transmissions of a request that the checker is to think of.
const mostCopies = 3
