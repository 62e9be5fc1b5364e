package multipath

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/block"
	"sango/internal/defect"
	"sango/internal/san"
)

// Device is a volume over all of its paths. It implements block.Device.
//
// One mutex guards the engine. Whoever has something to tell it (a submitter,
// the reader of a session, the timer) takes the mutex for the length of one
// step, and then does what came out of it itself, with no lock held. A
// goroutine that owned the engine would cost two hand-overs a request, each as
// dear as the step itself; the steps are short and never wait.
type Device struct {
	cfg   Config
	log   *slog.Logger
	began time.Time // the engine's instant 0
	gauge block.Gauge
	shape atomic.Pointer[shape] // nil until the first path has told
	known atomic.Pointer[facts] // what names the volume, by the first path
	dirty atomic.Bool           // something was written

	mu      sync.Mutex // guards the engine and the fields up to the blank line
	eng     *engine
	timer   *time.Timer
	wakeAt  instant // when timer fires; below 0: it does not
	version uint64  // of the engine's view, as last told
	asked   uint64  // numbers of evOptimize
	answers map[uint64]chan error

	pathMu   sync.Mutex // guards adding and removing paths
	nextPath int
	isids    map[uint16]bool
	stopping atomic.Bool
	paths    [maxPaths]atomic.Pointer[portal]

	ctx        context.Context // ends at Close
	cancel     context.CancelFunc
	wg         sync.WaitGroup // of all goroutines of the device
	refresh    chan struct{}  // token: look at the volume again
	rediscover chan struct{}  // token: ask for portals again
	told       chan struct{}  // token: the size may be another
	watch      chan struct{}  // token for Watch
	ready      chan struct{}  // token for Open
	tick       chan struct{}  // token: the timer has fired

	jobs      sync.Pool
	shapes    atomic.Uint64 // how often shape was set
	shapeMu   sync.Mutex    // serialises changes of shape
	size      atomic.Int64  // that Config.Resized knows, bytes
	resized   atomic.Int64  // wall clock, ns
	fencedAt  atomic.Int64  // wall clock, ns
	stat      stats
	closeOnce sync.Once
}

// stats are counters of the runtime.
type stats struct {
	reads, writes, attentions atomic.Uint64
}

var _ block.Device = (*Device)(nil)

// Open finds the paths of the volume that cfg names and returns when one of
// them serves. ctx bounds that only.
func Open(ctx context.Context, cfg Config) (*Device, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	d := &Device{
		cfg: cfg, log: cfg.Logger, began: time.Now(), wakeAt: -1, answers: map[uint64]chan error{}, isids: map[uint16]bool{},
		refresh: make(chan struct{}, 1), rediscover: make(chan struct{}, 1), told: make(chan struct{}, 1),
		watch: make(chan struct{}, 1), ready: make(chan struct{}, 1), tick: make(chan struct{}, 1),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.jobs.New = newJob
	d.eng = newEngine(cfg.settings())
	d.timer = time.AfterFunc(time.Hour, func() { kick(d.tick) })
	d.timer.Stop()
	d.background(d.keepTime)
	d.background(d.follow)
	for _, u := range cfg.URLs {
		d.addPath(u, true)
	}
	if cfg.Discover {
		d.background(d.discoverAll)
	}
	if err := d.await(ctx); err != nil {
		d.Abandon()
		return nil, err
	}
	return d, nil
}

// complete checks cfg and fills in the defaults.
func (c *Config) complete() error {
	if len(c.URLs) == 0 {
		return errors.New("multipath: no URL: name at least one portal of the target")
	}
	if len(c.URLs) > maxPaths/4 {
		return fmt.Errorf("multipath: %d URLs, at most %d are served", len(c.URLs), maxPaths/4)
	}
	if c.Initiator == "" {
		return errors.New("multipath: no initiator name: name this host by its IQN")
	}
	for _, u := range c.URLs {
		if u.Host == "" || u.Target == "" {
			return fmt.Errorf("multipath: URL %v names no portal or no target", u)
		}
	}
	if c.TakeOver && c.Group == 0 {
		return errors.New("multipath: taking over needs the group of the process that died")
	}
	for c.Group == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
		c.Group = binary.BigEndian.Uint64(b[:])
	}
	if c.Run == 0 {
		c.Run = uint64(time.Now().UnixNano())
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.LoginTimeout, 5*time.Second)
	def(&c.PingInterval, time.Second)
	def(&c.PingTimeout, 3*time.Second)
	def(&c.Command, DefaultCommand)
	def(&c.Queue, DefaultQueue)
	def(&c.Quiesce, DefaultQuiesce)
	def(&c.Failback, 2*time.Second)
	def(&c.Check, 5*time.Second)
	def(&c.Rediscover, time.Minute)
	if c.QueueDepth <= 0 {
		c.QueueDepth = DefaultQueueDepth
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.keep == nil {
		c.keep = keepSession
	}
	return nil
}

// mostRequests bounds the commands in the engine. Those who submit bound
// themselves far below.
const mostRequests = 1 << 16

// settings are what the engine is made with.
func (c *Config) settings() settings {
	return settings{
		policy: c.Policy, instance: san.Instance{Group: c.Group, Run: c.Run}, takeOver: c.TakeOver,
		requests: mostRequests, paths: maxPaths, depth: c.QueueDepth, command: c.Command, queue: c.Queue,
		quiesce: c.Quiesce, failback: c.Failback, check: c.Check, noFence: c.noFence || defect.R4d,
	}
}

// await returns when a path serves, or none ever will.
func (d *Device) await(ctx context.Context) error {
	for {
		v := d.engineView()
		if v.serving && d.shape.Load() != nil {
			return nil
		}
		if err := d.hopeless(&v); err != nil {
			return err
		}
		select {
		case <-d.ready:
		case <-ctx.Done():
			return d.noPath(&v, ctx.Err())
		}
	}
}

// Info implements block.Device.
func (d *Device) Info() block.Info {
	if s := d.shape.Load(); s != nil {
		return s.info()
	}
	return block.Info{}
}

// Submit implements block.Device. It never waits, so that NoWait means nothing
// to it.
func (d *Device) Submit(r *block.Request) {
	if !d.gauge.Enter() {
		r.End(block.Fail(r, block.Closed, nil))
		return
	}
	s := d.shape.Load()
	info := s.info()
	if err := block.Validate(r, &info); err != nil {
		r.End(err)
		d.gauge.Leave()
		return
	}
	switch {
	case r.Op == block.OpFlush:
	case r.Len == 0:
		r.End(nil)
		d.gauge.Leave()
		return
	case r.Op == block.OpRead:
		d.stat.reads.Add(1)
	default:
		if d.stat.writes.Add(1); !d.dirty.Load() {
			d.dirty.Store(true)
		}
	}
	d.start(r, s, true)
}

// ErrUnfenced says that a device was closed while writes that ended with an
// error may still be executed: the next one has to be opened with the same
// Group and TakeOver.
var ErrUnfenced = errors.New("writes that failed for want of a path may still be executed by the target")

// Close implements block.Device: it waits for the requests in flight, flushes,
// and logs all paths out. Requests that wait for a path end when their time is
// over (Config.Queue), or by Abandon. The error is ErrUnfenced, perhaps among
// others, where that is so.
func (d *Device) Close() error {
	var err error
	if d.gauge.Shut() {
		err = d.lastFlush()
		d.end()
	} else {
		<-d.ctx.Done()
	}
	if v := d.engineView(); v.unfenced > 0 {
		err = errors.Join(err, ErrUnfenced)
	}
	return err
}

// lastFlush makes everything stable that may not be.
func (d *Device) lastFlush() error {
	s := d.shape.Load()
	if s == nil || !s.writeBack || s.readOnly || !d.dirty.Load() {
		return nil
	}
	done := make(chan error, 1)
	r := &block.Request{Op: block.OpFlush, Done: func(r *block.Request) { done <- r.Err }}
	d.start(r, s, false)
	return <-done
}

// Abandon drops everything at once without a flush: requests in flight end
// with block.Closed and the connections are reset.
func (d *Device) Abandon() {
	d.step(event{kind: evStop})
	for _, p := range d.all() {
		if l := p.live.Load(); l != nil {
			l.Drop(errAbandoned)
		}
	}
	d.gauge.Shut()
	d.end()
}

var errAbandoned = errors.New("the attachment was abandoned")

// end stops the paths and the goroutines.
func (d *Device) end() {
	d.closeOnce.Do(func() {
		d.pathMu.Lock()
		d.stopping.Store(true)
		d.pathMu.Unlock()
		d.step(event{kind: evStop})
		var wg sync.WaitGroup
		for _, p := range d.all() {
			wg.Go(func() { p.stop.Do(p.keep.Stop) })
		}
		wg.Wait()
		d.cancel()
		d.mu.Lock()
		d.timer.Stop()
		d.mu.Unlock()
		d.wg.Wait()
	})
}

// background runs f in a goroutine that Close waits for.
func (d *Device) background(f func()) { d.wg.Go(f) }
