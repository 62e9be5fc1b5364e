package cluster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

// life is one start of a gateway: a machine, and what does what it says.
type life struct {
	r    *Runtime
	g    *model.Gateway
	pump *pump

	owners, reservations lane
	opens                chan struct{}  // has a place for each volume that may be opened at one time
	working              sync.WaitGroup // everything that has been started
	follow               follower

	// Of the goroutine that runs the machine:
	ctx      context.Context // of all that has been started
	volumes  map[san.UUID]*work
	campaign context.CancelFunc // ends the candidacy, and the office
	ended    end
	removed  bool // it was said that the gateway was removed

	mu      sync.Mutex    // guards what follows
	back    chan struct{} // closed while there is a right to serve
	refused string        // why it could not register, last time
}

// end is how a life ended.
type end uint8

const (
	cutShort end = iota
	leftIt
	fencedIt
)

// work is what is being done for a volume that may block: one thing at a time.
type work struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func newLife(r *Runtime) *life {
	l := &life{
		r: r, g: model.NewGateway(r.o.Gateway, r.o.Sole, r.o.Times), pump: newPump(r.now), volumes: map[san.UUID]*work{},
		campaign: func() {}, opens: make(chan struct{}, r.o.Opens), back: make(chan struct{}),
	}
	l.owners.most, l.owners.wg = proposals, &l.working
	l.reservations.most, l.reservations.wg = proposals, &l.working
	l.follow = follower{
		store: r.o.Store, every: r.o.Timeout, stall: 3 * r.o.Timeout, timeout: r.o.Timeout, log: r.o.Log, deliver: l.deliver,
	}
	return l
}

// run lives until the machine says that it is over, or ctx is done.
func (l *life) run(ctx context.Context) end {
	ctx, cancel := context.WithCancel(ctx)
	defer l.working.Wait()
	defer l.pump.end()
	defer l.r.setRight(0)
	defer func() { l.campaign() }()
	defer cancel()
	l.ctx = ctx
	l.pump.post(model.Start{})
	l.working.Go(func() { l.follow.run(ctx) })
	l.pump.run(ctx, l.g, func(effects []model.Effect) bool {
		l.r.setRight(l.g.Right())
		for _, e := range effects {
			l.do(e)
		}
		return l.ended == cutShort
	})
	return l.ended
}

// errOver ends a stream that nobody listens to any more.
var errOver = errors.New("this member is over")

// deliver hands an event of the stream over, and waits until it was taken: so
// it is never told more than can be taken.
func (l *life) deliver(ev model.Event) error {
	l.r.note(ev)
	if !l.pump.wait(l.ctx, ev, nil) {
		return errOver
	}
	return nil
}

// do does what the machine says.
func (l *life) do(e model.Effect) {
	d, r := l.r.o.Driver, l.r
	switch e := e.(type) {
	case model.Propose:
		l.propose(e)
	case model.Joined:
		r.o.Log.Info("this gateway is a member of the cluster", "member", e.Member)
		d.Joined(e.Member)
		l.stand(e.Member)
	case model.RightLost:
		r.o.Log.Warn("the right to serve has run out: the metadata does not confirm heartbeats")
		l.mu.Lock()
		l.back = make(chan struct{})
		l.mu.Unlock()
		d.RightLost()
	case model.RightBack:
		close(l.back)
		d.RightBack()
	case model.Fenced:
		r.o.Log.Error("this gateway was declared dead, or started again elsewhere", "member", l.g.Member())
		l.campaign()
		for _, w := range l.volumes {
			w.cancel()
		}
		d.Fenced()
	case model.Rejoin:
		l.ended = fencedIt
	case model.Left:
		r.o.Log.Info("this gateway has left the cluster", "member", l.g.Member())
		l.ended = leftIt
	case model.Open:
		l.open(e)
	case model.Serve:
		d.Serve(e.Volume, e.Epoch)
	case model.Prepare:
		l.work(e.Volume, func(ctx context.Context) model.Event {
			d.Prepare(ctx, e.Volume)
			return model.Prepared(e)
		})
	case model.Hold:
		if w := l.volumes[e.Volume]; w != nil { // what prepares it
			w.cancel()
		}
		r.unit(e.Volume).end()
		d.Hold(e.Volume, sync.OnceFunc(func() { l.pump.post(model.Drained(e)) }))
	case model.Refuse:
		d.Refuse(e.Volume)
	case model.Cancel:
		d.Cancel(e.Volume)
		if w := l.volumes[e.Volume]; w != nil {
			w.cancel()
		}
	case model.Flush:
		l.work(e.Volume, func(ctx context.Context) model.Event {
			d.Flush(ctx, e.Volume)
			return model.Flushed(e)
		})
	case model.Close:
		r.unit(e.Volume).end()
		l.work(e.Volume, func(context.Context) model.Event {
			d.Close(e.Volume)
			r.unit(e.Volume).closed()
			return model.Closed(e)
		})
	case model.Reserved:
		r.unit(e.Volume).reserved(e.Outcome)
	case model.Stop:
		r.unit(e.Volume).stop()
	case model.Resume:
		r.unit(e.Volume).resume(e.Data)
	case model.ReadReservation:
		l.reservations.do(func() { l.pump.post(l.readReservation(e.Volume)) })
	case model.Publish:
		d.Publish(e.Volume, e.Record)
	case model.Prefer:
		d.Prefer(e.Volume, e.Gateway)
	case model.PublishGateways:
		all := l.g.Gateways()
		l.checkRemoved(all)
		d.PublishGateways(all)
	case model.Attend:
		d.Attend(e.Volume, e.Asked)
	case model.Forget:
		r.Forget(e.Volume)
	}
}

// checkRemoved says why this gateway does not become a member.
func (l *life) checkRemoved(all []model.GatewayRecord) {
	for _, g := range all {
		if g.ID == l.r.o.Gateway && g.Life == model.Removed && l.g.Member().IsZero() && !l.removed {
			l.removed = true
			l.r.o.Log.Warn("this gateway was removed, and volumes still name it: it becomes a member when these have other owners")
		}
	}
}

// work does something for a volume that may block, when what was begun before
// for that volume has ended.
func (l *life) work(v san.UUID, f func(context.Context) model.Event) {
	w := &work{done: make(chan struct{})}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(l.ctx)
	before := l.volumes[v]
	l.volumes[v] = w
	l.working.Go(func() {
		defer w.cancel()
		defer close(w.done)
		if before != nil {
			<-before.done
		}
		l.pump.post(f(ctx))
	})
}

// open opens a volume.
func (l *life) open(e model.Open) {
	l.work(e.Volume, func(ctx context.Context) model.Event {
		select {
		case l.opens <- struct{}{}:
			defer func() { <-l.opens }()
		case <-ctx.Done():
		}
		return l.opened(ctx, e)
	})
}

// opened reads the reservations of a volume, and opens it. They are final: all
// that a former owner could still change is guarded by a record of ownership
// that is over.
func (l *life) opened(ctx context.Context, e model.Open) model.Event {
	err := l.awaitRight(ctx)
	read := model.ReservationRead{}
	if err == nil {
		if read = l.readReservation(e.Volume); !read.OK {
			err = san.Errorf(san.ErrUnavailable, "its reservations can't be read")
		}
	}
	u := l.r.unit(e.Volume)
	if err == nil {
		u.open(e.Epoch, read.Data)
		err = l.r.o.Driver.Open(ctx, e.Volume, e.Epoch)
	}
	news := l.r.setTrouble(e.Volume, err)
	if err != nil {
		u.end()
		u.closed()
		level := slog.LevelDebug // it is tried again and again
		if news {
			level = slog.LevelError
		}
		l.r.o.Log.Log(ctx, level, "a volume could not be opened", "volume", e.Volume, "epoch", e.Epoch, "error", err)
		return model.OpenFailed(e)
	}
	if news {
		l.r.o.Log.Info("a volume that could not be opened is open", "volume", e.Volume, "epoch", e.Epoch)
	}
	return model.Opened{Volume: e.Volume, Epoch: e.Epoch, Reservation: read.Rev, Data: read.Data}
}

// awaitRight waits until there is a right to serve: a volume may be granted
// before the first heartbeat is confirmed.
func (l *life) awaitRight(ctx context.Context) error {
	l.mu.Lock()
	back := l.back
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, max(time.Duration(l.r.o.Times.TTL), l.r.o.Timeout))
	defer cancel()
	select {
	case <-back:
		return ctx.Err()
	case <-ctx.Done():
		return san.Errorf(san.ErrUnavailable, "this gateway has no right to serve now")
	}
}

// readReservation is a linearizable read of a volume's reservations.
func (l *life) readReservation(v san.UUID) model.ReservationRead {
	ctx, cancel := context.WithTimeout(l.ctx, l.r.o.Timeout)
	defer cancel()
	got, err := l.r.o.Store.Read(ctx, model.ReservationRecord{Volume: v}.Key())
	if err != nil || len(got) != 1 {
		return model.ReservationRead{Volume: v}
	}
	rec, _ := got[0].Record.(model.ReservationRecord)
	return model.ReservationRead{Volume: v, OK: true, Rev: got[0].Rev, Data: rec.Data}
}

// propose asks the store for a transaction. The member's own go first.
func (l *life) propose(e model.Propose) {
	commit := func() { l.pump.post(l.r.commit(l.ctx, e)) }
	if len(e.Txn.Puts) > 0 {
		switch put := e.Txn.Puts[0].(type) {
		case model.GatewayRecord:
			if put.Life == model.Alive && l.r.o.Register != nil {
				l.working.Go(func() { l.join(e) })
				return
			}
		case model.OwnerRecord:
			l.owners.do(commit)
			return
		case model.ReservationRecord:
			l.reservations.do(commit)
			return
		}
	}
	l.working.Go(commit)
}

// join proposes the beginning of this member, when the gateway is registered: it
// may have been removed since its start.
func (l *life) join(e model.Propose) {
	ctx, cancel := context.WithTimeout(l.ctx, l.r.o.Timeout)
	err := l.r.o.Register(ctx)
	cancel()
	if err != nil {
		l.mu.Lock()
		again := l.refused == err.Error()
		l.refused = err.Error()
		l.mu.Unlock()
		if !again && l.ctx.Err() == nil {
			l.r.o.Log.Warn("this gateway can't register, and is no member; it tries again", "error", err)
		}
		l.pump.post(model.Answered{ID: e.ID, Outcome: model.Refused})
		return
	}
	l.pump.post(l.r.commit(l.ctx, e))
}

// commit makes a transaction, if the answer comes in time.
func (r *Runtime) commit(ctx context.Context, e model.Propose) model.Answered {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	rev, outcome := r.o.Store.Commit(ctx, e.Txn)
	return model.Answered{ID: e.ID, Outcome: outcome, Rev: rev}
}

// setTrouble notes why a volume could not be opened here, or that it could be,
// and reports whether that is news.
func (r *Runtime) setTrouble(v san.UUID, err error) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.trouble[v]
	if err == nil {
		delete(r.trouble, v)
		return old != nil
	}
	r.trouble[v] = err
	return old == nil || old.Error() != err.Error()
}
