package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// run is one load under way.
type run struct {
	cfg    Config
	off    int64
	places int64
	verify *verifier
	choose func() (int64, bool) // where to read next, of a run that reads back
	jobs   []*job
	shards []*shard
	begin  time.Time
	pace   chan *slot
	series bool

	issued  atomic.Int64
	live    atomic.Int64 // slots that go on
	stopped atomic.Bool
	stop    chan struct{} // closed with stopped
	over    chan struct{} // closed when no slot is live
	quit    chan struct{} // closed when nobody waits for that any more
	once    sync.Once

	errors, checked, unknown, miscompares atomic.Int64

	mu       sync.Mutex
	messages []string // guarded by mu
}

// Run makes the load and measures it. When ctx ends, so does the load, and
// what was measured until then is returned. The error says that the load could
// not begin; what went wrong with requests is in the Result.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	off, places, err := cfg.area()
	if err != nil {
		return nil, err
	}
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	}
	if cfg.Drain == 0 {
		cfg.Drain = time.Minute
	}
	cfg.MaxErrors = max(cfg.MaxErrors, 1)
	if cfg.sleep == nil {
		cfg.sleep = nap
	}
	r := newRun(cfg, off, places)
	if cfg.Verify {
		r.verify = newVerifier(off, places, cfg.Request, cfg.Volumes[0].Info().BlockSize, rand.Uint64())
	}
	out := r.measure(ctx)
	if r.verify == nil {
		return out, nil
	}
	out.Verify = &Verification{Checked: r.checked.Load(), Unknown: r.unknown.Load(), Miscompares: r.miscompares.Load()}
	if cfg.Pattern.Writes() && ctx.Err() == nil && out.Unanswered == 0 && r.errors.Load() < cfg.MaxErrors {
		r.readBack(ctx, out)
	}
	return out, nil
}

// readBack reads all that was written, and adds what is found to out.
func (r *run) readBack(ctx context.Context, out *Result) {
	cfg := r.cfg
	cfg.Pattern, cfg.Time, cfg.Ramp, cfg.Rate, cfg.Count, cfg.Tick = Read, 0, 0, 0, 0, nil
	b := newRun(cfg, r.off, r.places)
	b.verify, b.choose, b.series = r.verify, r.verify.readBack(), false
	found := b.measure(ctx)
	v := out.Verify
	v.ReadBack = b.checked.Load()
	v.Checked += b.checked.Load()
	v.Unknown += b.unknown.Load()
	v.Miscompares += b.miscompares.Load()
	out.Errors += found.Errors
	out.Unanswered += found.Unanswered
	out.Messages = append(out.Messages, found.Messages...)
	out.Interrupted = out.Interrupted || found.Interrupted
}

func newRun(cfg Config, off, places int64) *run {
	slots := cfg.Depth * len(cfg.Volumes)
	r := &run{cfg: cfg, off: off, places: places, series: true, pace: make(chan *slot, slots), stop: make(chan struct{}), over: make(chan struct{}), quit: make(chan struct{})}
	r.live.Store(int64(slots))
	for range min(len(cfg.Volumes), maxShards) {
		r.shards = append(r.shards, newShard())
	}
	for i, v := range cfg.Volumes {
		j := &job{run: r, vol: v, shard: r.shards[i%len(r.shards)]}
		j.cursor.Store(int64(i) * places / int64(len(cfg.Volumes))) // each session its own part
		r.jobs = append(r.jobs, j)
	}
	return r
}

// start begins the load: it returns when every slot has issued its first
// request, or as many as were answered at once.
func (r *run) start() {
	r.begin = time.Now()
	var shared []byte
	for i, j := range r.jobs {
		for k := range r.cfg.Depth {
			s := &slot{job: j, rng: rand.NewPCG(r.cfg.Seed, uint64(i*MaxDepth+k))}
			if s.bufs[0] = shared; shared == nil {
				s.bufs[0] = make([]byte, r.cfg.Request)
				scramble(s.bufs[0][:len(s.bufs[0])&^7], s.rng.Uint64())
			}
			if r.onlyWrites() {
				shared = s.bufs[0]
			}
			s.req.Len, s.req.Bufs, s.req.Done = r.cfg.Request, s.bufs[:], s.done
			s.loop()
		}
	}
}

// onlyWrites reports whether nothing changes what is in a buffer, so that one
// will do. What the caches of this machine hold of many buffers is no matter of
// the volume.
func (r *run) onlyWrites() bool {
	return r.verify == nil && r.choose == nil && r.cfg.Pattern.Writes() && !r.cfg.Pattern.Reads()
}

// leave says that a slot goes no further.
func (r *run) leave() {
	if r.live.Add(-1) == 0 {
		close(r.over)
	}
}

// halt ends the load; slots notice when their request is answered.
func (r *run) halt() {
	r.once.Do(func() {
		r.stopped.Store(true)
		close(r.stop)
	})
}

// fail counts an error.
func (r *run) fail(err error) {
	n := r.errors.Add(1)
	if n >= r.cfg.MaxErrors {
		r.halt()
	}
	if n <= maxFirst {
		text := err.Error()
		r.mu.Lock()
		r.messages = append(r.messages, text)
		r.mu.Unlock()
	}
}

// pacer issues requests when they are due.
func (r *run) pacer() {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-r.quit:
			return
		case s := <-r.pace:
			t.Reset(max(s.due-time.Since(r.begin)-napLimit, 0))
			select {
			case <-t.C:
				for d := s.due - time.Since(r.begin); d > 0; d = s.due - time.Since(r.begin) {
					r.cfg.sleep(d)
				}
				s.resume()
			case <-r.stop:
				r.giveUp(s)
			}
		}
	}
}

// giveUp ends a slot that waits for its time.
func (r *run) giveUp(s *slot) {
	if r.verify != nil {
		r.verify.leave(s.place, false, 0, false)
	}
	r.leave()
}

// measure runs the load to its end.
func (r *run) measure(ctx context.Context) *Result {
	m := &meter{run: r, total: [2]*tally{newTally(), newTally()}, interval: [2]*tally{newTally(), newTally()}}
	var wait sync.WaitGroup
	defer wait.Wait()
	started := make(chan struct{})
	wait.Go(func() { // a volume that answers at once keeps start from returning
		defer close(started)
		r.start()
	})
	wait.Go(func() {
		<-started
		r.pacer()
	})
	m.follow(ctx)
	close(r.quit)
	out := m.result()
	out.Interrupted = ctx.Err() != nil
	return out
}

// meter takes what the sessions have counted.
type meter struct {
	run             *run
	from            time.Time     // the beginning of the measurement
	last            time.Time     // the end of the last interval
	cpu             time.Duration // of the process at from
	used            time.Duration // of the process since
	measured        time.Duration
	total, interval [2]*tally
	samples         []Sample
	unanswered      int64
}

// follow lives through ramp, measurement and drain.
func (m *meter) follow(ctx context.Context) {
	r := m.run
	m.from, m.cpu = time.Now(), cpuTime()
	m.last = m.from
	tick := time.NewTicker(r.cfg.Interval)
	defer tick.Stop()
	var ramp, end, drain <-chan time.Time
	if r.cfg.Ramp > 0 {
		ramp = time.After(r.cfg.Ramp)
	} else if r.cfg.Time > 0 {
		end = time.After(r.cfg.Time)
	}
	stop, gone := r.stop, ctx.Done()
	for {
		select {
		case <-ramp:
			m.restart()
			tick.Reset(r.cfg.Interval)
			ramp = nil
			if r.cfg.Time > 0 {
				end = time.After(r.cfg.Time)
			}
		case <-tick.C:
			if ramp == nil {
				m.take(true)
			}
		case <-end:
			r.halt()
		case <-gone:
			gone = nil
			r.halt()
		case <-stop:
			stop = nil
			drain = time.After(r.cfg.Drain)
		case <-drain:
			m.unanswered = r.live.Load()
			m.end()
			return
		case <-r.over:
			m.end()
			return
		}
	}
}

// restart forgets what was counted so far: the ramp. Its errors stay.
func (m *meter) restart() {
	m.take(false)
	for i := range m.total {
		kept := m.total[i].errors
		m.total[i].reset()
		m.total[i].errors = kept
	}
	for _, j := range m.run.jobs {
		j.shard.mu.Lock()
		j.ios = 0
		j.shard.mu.Unlock()
	}
	m.from, m.cpu = time.Now(), cpuTime()
	m.last = m.from
}

func (m *meter) end() {
	m.take(true)
	m.measured, m.used = m.last.Sub(m.from), cpuTime()-m.cpu
}

// take ends an interval.
func (m *meter) take(sample bool) {
	now := time.Now()
	for i := range m.interval {
		m.interval[i].reset()
	}
	for _, c := range m.run.shards {
		c.mu.Lock()
		c.tally, c.spare = c.spare, c.tally
		c.mu.Unlock()
		for i, t := range c.spare {
			m.interval[i].add(t)
			t.reset()
		}
	}
	for i, t := range m.interval {
		m.total[i].add(t)
	}
	d := now.Sub(m.last)
	m.last = now
	if short := d < m.run.cfg.Interval/10 && len(m.samples) > 0; short || !sample || !m.run.series || len(m.samples) >= maxSamples {
		return
	}
	s := Sample{Second: round(now.Sub(m.from).Seconds(), 3)}
	if m.run.cfg.Pattern.Reads() {
		s.Read = m.interval[0].point(d)
	}
	if m.run.cfg.Pattern.Writes() {
		s.Write = m.interval[1].point(d)
	}
	m.samples = append(m.samples, s)
	if m.run.cfg.Tick != nil {
		m.run.cfg.Tick(s)
	}
}

func (m *meter) result() *Result {
	r := m.run
	out := &Result{
		Seconds: round(m.measured.Seconds(), 3), CPU: round(m.used.Seconds(), 3), Series: m.samples, Seed: r.cfg.Seed,
		Unanswered: m.unanswered, Errors: r.errors.Load() + m.unanswered,
	}
	r.mu.Lock()
	out.Messages = append(out.Messages, r.messages...)
	r.mu.Unlock()
	if m.unanswered > 0 {
		out.Messages = append(out.Messages, fmt.Sprintf("%d requests: %v within %v after the end", m.unanswered, errUnanswered, r.cfg.Drain))
	}
	out.Spread = m.spread()
	reads, writes := m.total[0], m.total[1]
	share := func(t *tally) float64 {
		if all := reads.ios + writes.ios; all > 0 {
			return m.used.Seconds() * float64(t.ios) / float64(all)
		}
		return 0
	}
	if r.cfg.Pattern.Reads() {
		out.Read = reads.direction(m.measured, share(reads))
	}
	if r.cfg.Pattern.Writes() {
		out.Write = writes.direction(m.measured, share(writes))
	}
	return out
}

// spread tells how the load was shared out among several sessions.
func (m *meter) spread() *Spread {
	seconds := m.measured.Seconds()
	if len(m.run.jobs) < 2 || seconds <= 0 {
		return nil
	}
	var rates []float64
	for _, j := range m.run.jobs {
		j.shard.mu.Lock()
		rates = append(rates, round(float64(j.ios)/seconds, 1))
		j.shard.mu.Unlock()
	}
	slices.Sort(rates)
	return &Spread{Slowest: rates[0], Median: rates[len(rates)/2], Fastest: rates[len(rates)-1]}
}
