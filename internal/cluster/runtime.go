package cluster

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/defect"
	"sango/internal/pause"
	"sango/internal/san"
)

// Runtime is a gateway's part in the cluster.
type Runtime struct {
	o    Options
	base time.Time
	// until is when the right to serve ends, on the clock of base.
	until atomic.Int64

	coordinator atomic.Pointer[model.CoordinatorRecord]
	office      atomic.Bool // it is this one

	fresh freshness

	mu       sync.Mutex // guards what follows
	life     *life      // nil: between two
	leaving  bool
	units    map[san.UUID]*Unit
	asked    map[san.UUID]time.Time // when a move was asked for here, last
	weighed  map[san.UUID]int       // as told last; nil: not yet
	trouble  map[san.UUID]error     // why a volume could not be opened here, last time
	unfenced map[model.Fence]error  // why fences failed, while this one coordinates
	over     chan struct{}          // closed when Run returns
}

// New makes a Runtime that does nothing yet.
func New(o Options) (*Runtime, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &Runtime{
		o: o.withDefaults(), base: time.Now(), units: map[san.UUID]*Unit{}, asked: map[san.UUID]time.Time{},
		trouble: map[san.UUID]error{}, unfenced: map[model.Fence]error{}, over: make(chan struct{}),
	}
	r.fresh.r = r
	return r, nil
}

// now is the time of the machines. It does not begin with 0, which means never
// in some places.
func (r *Runtime) now() model.Instant { return model.Instant(r.since()) + model.Second }

// since is the clock of base.
func (r *Runtime) since() time.Duration { return time.Since(r.base) - defect.Stood() }

// Right reports whether this gateway may serve now: it is looked at right
// before each write is submitted, and before each good status is sent (R3).
// It costs one load and one look at the clock.
func (r *Runtime) Right() bool { return int64(r.since()) < r.until.Load() }

// setRight lets the right end at an instant of the machine.
func (r *Runtime) setRight(at model.Instant) {
	if at != math.MaxInt64 {
		at -= model.Second
	}
	r.until.Store(int64(at))
}

// Run registers the gateway as a member, and serves until Leave has succeeded
// (nil) or ctx is done. A member that is over is followed by another one.
// Where ctx ends it, nothing is given up: the others wait for the right to run
// out.
func (r *Runtime) Run(ctx context.Context) error {
	defer close(r.over)
	defer r.fresh.running.Wait()
	defer r.setRight(0)
	again := rejoinFirst
	for {
		l := newLife(r)
		r.mu.Lock()
		left := r.leaving
		if !left {
			r.life = l
		}
		r.mu.Unlock()
		if left {
			return nil
		}
		began := time.Now()
		end := l.run(ctx)
		r.mu.Lock()
		r.life, left = nil, r.leaving
		r.mu.Unlock()
		r.endUnits()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case end == leftIt || left:
			return nil
		}
		if time.Since(began) > rejoinCalm {
			again = rejoinFirst
		}
		r.o.Log.Warn("this gateway is to begin again as another member", "pause", again)
		if !pause.For(ctx, again) {
			return ctx.Err()
		}
		again = min(2*again, rejoinMost)
	}
}

// Leave gives up what this gateway has, and ends Run. Where ctx is done before,
// it goes on giving up.
func (r *Runtime) Leave(ctx context.Context) error {
	r.mu.Lock()
	r.leaving = true
	if r.life != nil {
		r.life.pump.post(model.Leave{})
	}
	r.mu.Unlock()
	select {
	case <-r.over:
		return nil
	case <-ctx.Done():
		return san.Errorf(san.ErrUnavailable, "gateway %s has not given up all its volumes: %v", r.o.Gateway, ctx.Err())
	}
}

// PeerLost says that another member does not answer this gateway any more, or
// that its process is gone.
func (r *Runtime) PeerLost(m model.Member) { r.tell(model.PeerLost{Member: m}) }

// PeerFound says that it answers again.
func (r *Runtime) PeerFound(m model.Member) { r.tell(model.PeerFound{Member: m}) }

// Failed says that the medium of a volume that is served here failed, and why,
// and that it has to be opened again, here or elsewhere.
func (r *Runtime) Failed(v san.UUID, why error) {
	r.setTrouble(v, why)
	r.tell(model.Failed{Volume: v})
}

func (r *Runtime) tell(ev model.Event) {
	if l := r.present(); l != nil {
		l.pump.post(ev)
	}
}

// present returns the life of the gateway that is running.
func (r *Runtime) present() *life {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.life
}

// look has f look at the machine, and reports whether it could.
func (r *Runtime) look(ctx context.Context, f func(g *model.Gateway)) bool {
	l := r.present()
	return l != nil && l.pump.wait(ctx, nil, func() { f(l.g) })
}

// note takes what the machines do not look at from the stream.
func (r *Runtime) note(ev model.Event) {
	var changes []model.Change
	switch ev := ev.(type) {
	case model.Snapshot:
		changes = ev.Changes
		r.coordinator.Store(nil)
	case model.Changed:
		changes = ev.Changes
	}
	for _, c := range changes {
		if c.Key.Kind != model.KindCoordinator {
			continue
		}
		if rec, ok := c.Record.(model.CoordinatorRecord); ok {
			r.coordinator.Store(&rec)
		} else {
			r.coordinator.Store(nil)
		}
	}
}
