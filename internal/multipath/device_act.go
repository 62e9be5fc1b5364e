package multipath

import (
	"context"
	"sync"
	"time"

	"sango/internal/block"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// batch is room for the actions of one step.
type batch struct{ acts []action }

var batches = sync.Pool{New: func() any { return &batch{} }}

// step tells the engine of ev and does what follows from it, on the caller's
// goroutine. The caller holds no lock.
func (d *Device) step(ev event) {
	b := batches.Get().(*batch)
	d.mu.Lock()
	now := time.Since(d.began)
	b.acts = d.eng.step(now, ev, b.acts[:0])
	d.arm(now)
	changed := d.eng.version() != d.version
	d.version = d.eng.version()
	d.mu.Unlock()
	for i := range b.acts {
		d.act(&b.acts[i])
	}
	clear(b.acts)
	batches.Put(b)
	if changed {
		d.notify()
	}
}

// notify tells those who watch that the view has changed.
func (d *Device) notify() {
	kick(d.watch)
	kick(d.ready)
}

// arm sets the timer for the engine's next wish. A timer that fires too early
// does no harm, so that it is set anew only for an earlier moment. The caller
// holds mu.
func (d *Device) arm(now instant) {
	at, ok := d.eng.wake()
	if !ok || d.wakeAt >= 0 && d.wakeAt <= at {
		return
	}
	d.wakeAt = at
	d.timer.Reset(max(at-now, 0))
}

// keepTime tells the engine that time has passed.
func (d *Device) keepTime() {
	for {
		select {
		case <-d.tick:
			d.mu.Lock()
			d.wakeAt = -1
			d.mu.Unlock()
			d.step(event{kind: evTick})
		case <-d.ctx.Done():
			return
		}
	}
}

// act does what a is. What takes time goes on in the background.
func (d *Device) act(a *action) {
	p := d.path(a.path)
	switch a.kind {
	case actSend:
		d.send(a.req)
	case actEnd:
		q := a.req.user.(*piece)
		if q.ended != nil {
			q.ended(a.err)
			return
		}
		q.job.left(q, a.err)
	case actAbort:
		if l := p.session(a.login); l != nil {
			d.log.Warn("path is given up for now", "portal", p.url.Host, "error", a.err)
			l.Drop(a.err)
		}
	case actLogout:
		if p != nil {
			p.halt()
		}
	case actGone:
		if p != nil {
			d.log.Info("path is gone", "portal", p.url.Host)
			d.paths[p.id-1].Store(nil)
			p.halt()
		}
	case actOptimized:
		d.mu.Lock()
		c := d.answers[a.id]
		delete(d.answers, a.id)
		d.mu.Unlock()
		if c != nil {
			c <- a.err
		}
	case actReadCapacity:
		kick(d.refresh)
	default:
		d.ask(p, *a)
	}
}

// send hands the command of q to the session that the engine chose.
func (d *Device) send(q *request) {
	c := q.user.(*piece)
	p := d.path(q.path)
	l := p.session(q.login)
	if l == nil {
		d.step(event{kind: evResult, req: q, path: q.path, login: q.login, out: outcome{lost: true, err: errEnded}})
		return
	}
	c.cmd.LUN = p.lun
	p.commands.Add(1)
	p.bytes.Add(uint64(q.blk.Len))
	l.Submit(&c.cmd)
}

// ask does in the background what asks the target something, and tells the
// engine the answer.
func (d *Device) ask(p *portal, a action) {
	ev := event{kind: a.kind.answer(), path: a.path, login: a.login, id: a.id}
	if ev.kind == 0 {
		return
	}
	l := p.session(a.login)
	if l == nil {
		ev.out = outcome{lost: true, err: errEnded}
		d.step(ev)
		return
	}
	d.background(func() {
		limit := d.cfg.LoginTimeout
		if a.kind == actFence {
			limit = d.cfg.Command // it waits for the store (docs/fence.md)
		}
		ctx, cancel := context.WithTimeout(d.ctx, limit)
		defer cancel()
		q := p.asker(l)
		var err error
		switch a.kind {
		case actProbe:
			ev.probe, err = d.probe(ctx, p, l, q)
		case actCheck:
			_, err = q.in(ctx, scsi.CDB{0: byte(scsi.OpTestUnitReady)}, 0)
			if err == nil && d.shape.Load() == nil {
				kick(d.refresh)
			}
		case actReadGroups:
			ev.groups, ev.transition, err = reportGroups(ctx, q)
			if err == nil && d.shape.Load() == nil {
				kick(d.refresh)
			}
		case actFence:
			err = d.fence(ctx, q, &a)
		case actSetGroups:
			list := alua.AppendSet(nil, []alua.Change{{ID: a.group, State: alua.Optimized}})
			err = q.out(ctx, cdbSetGroups(uint32(len(list))), list)
		}
		ev.out = outcomeOf(err)
		if ev.err = err; err != nil {
			d.log.Warn("path does not answer as it should", "portal", p.url.Host, "asked", askNames[a.kind], "error", err)
		}
		d.step(ev)
	})
}

// askNames is what the log calls the actions that ask.
var askNames = map[actionKind]string{
	actProbe: "probe", actCheck: "check", actReadGroups: "port groups", actFence: "fence", actSetGroups: "set port groups",
}

// fence has the target end the sessions of a.logins, or all of earlier runs.
func (d *Device) fence(ctx context.Context, q *asker, a *action) error {
	list := scsi.FenceList{Group: d.cfg.Group}
	f := scsi.Fence{Action: scsi.SAFenceInstances}
	if a.earlier {
		f.Action, list.Run = scsi.SAFenceEarlierRuns, d.cfg.Run
	} else {
		for _, n := range a.logins {
			list.Entries = append(list.Entries, scsi.FenceEntry{Run: d.cfg.Run, Login: n})
		}
	}
	data := list.Append(nil)
	f.Length = uint32(len(data))
	err := q.out(ctx, f.CDB(), data)
	if err == nil {
		d.fencedAt.Store(time.Now().UnixNano())
		d.log.Info("sessions are fenced", "earlier_runs", a.earlier, "logins", a.logins)
	}
	return err
}

// probe asks what is behind l, and takes the shape of the volume from it.
func (d *Device) probe(ctx context.Context, p *portal, l *live, q *asker) (*probe, error) {
	since := d.shapes.Load()
	f, err := ask(ctx, q)
	if err != nil {
		return nil, err
	}
	r := &probe{
		alua: f.tpgs != scsi.TPGSNone && f.groups != nil, explicit: f.tpgs&scsi.TPGSExplicit != 0,
		group: f.portGroup, groups: f.groups, transition: f.transit, identity: f.name(),
	}
	if f.sango != nil {
		i, _ := l.Instance()
		r.fence, r.maxFence = f.sango.Fence && f.sango.Instance == i && !i.IsZero(), int(f.sango.MaxInstances)
		r.boot = f.sango.Boot
	}
	p.seen.Store(f)
	if !d.known.CompareAndSwap(nil, f) {
		first := d.known.Load()
		if err := first.same(f); err != nil {
			d.log.Error("path is refused", "portal", p.url.Host, "target", p.url.Target, "lun", p.url.LUN, "error", err)
			r.identity = "other: " + f.name() // whatever it shares with the first
			return r, nil
		}
		r.identity = first.name()
	}
	if f.shape != nil {
		if err := d.setShape(f.shape, since); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Optimize asks the target, by SET TARGET PORT GROUPS, to make the port group
// active/optimized.
func (d *Device) Optimize(ctx context.Context, group uint16) error {
	if !d.gauge.Enter() {
		return &block.Error{Class: block.Closed}
	}
	defer d.gauge.Leave()
	c := make(chan error, 1)
	d.mu.Lock()
	d.asked++
	id := d.asked
	d.answers[id] = c
	d.mu.Unlock()
	d.step(event{kind: evOptimize, group: group, id: id})
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		d.mu.Lock()
		delete(d.answers, id)
		d.mu.Unlock()
		return ctx.Err()
	}
}
