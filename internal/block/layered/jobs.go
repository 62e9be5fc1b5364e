package layered

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sango/internal/san"
)

// Job is background work on a volume.
type Job struct {
	Volume  san.UUID  `json:"volume"`
	Kind    string    `json:"kind"`            // "merge": a deleted snapshot goes into the layer beneath it
	Done    int64     `json:"done"`            // bytes
	Total   int64     `json:"total"`           // bytes, as far as known
	Started time.Time `json:"started"`         // of this layer
	Running bool      `json:"running"`         // false: it stopped with Error, and goes on when the volume is opened next, or another snapshot deleted
	Error   string    `json:"error,omitempty"` // why it stopped
}

// chunk is how much background work moves at a time, in bytes.
const chunk = 1 << 20

// jobs runs the background work of one volume, on at most one goroutine.
type jobs struct {
	limiter *rate.Limiter

	mu     sync.Mutex // guards what follows
	hold   int        // > 0: no work may run
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended; nil: there is none
	again  bool          // there may be more to do than it has seen
	ending bool          // it won't look again
	state  *Job
}

func (j *jobs) init(bytes int64) { j.limiter = rate.NewLimiter(limit(bytes), chunk) }

func (j *jobs) setRate(bytes int64) { j.limiter.SetLimit(limit(bytes)) }

// pause ends the work that runs, waits for that, and keeps it from starting
// until the function that it returns is called.
func (j *jobs) pause() (resume func()) {
	j.mu.Lock()
	j.hold++
	done := j.done
	if done != nil {
		j.cancel()
	}
	j.mu.Unlock()
	if done != nil {
		<-done
	}
	return sync.OnceFunc(func() {
		j.mu.Lock()
		j.hold--
		j.mu.Unlock()
	})
}

// forget drops the report of work that was cut short and is not needed any
// more.
func (j *jobs) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.done == nil {
		j.state = nil
	}
}

// stop ends the work that runs, and waits for that.
func (j *jobs) stop() { j.pause()() }

func (j *jobs) progress(done, total int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state != nil {
		j.state.Done, j.state.Total = done, total
	}
}

// begin announces work on the next layer.
func (j *jobs) begin(id san.UUID, total int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.state = &Job{Volume: id, Kind: "merge", Total: total, Started: time.Now(), Running: true}
}

func (j *jobs) report() (Job, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.state != nil:
		return *j.state, true
	case j.done != nil && !j.ending: // about to begin: who deleted a snapshot may wait for it
		return Job{Kind: "merge", Running: true}, true
	}
	return Job{}, false
}

// kick starts background work if there is any to do. The caller holds a
// reference of e; the work takes its own, which keeps the volume loaded. Where
// gateways own volumes, only the owner's does any: it would hold up the next.
func (s *Store) kick(id san.UUID, e *entry) {
	v := e.v
	v.control.Lock()
	_, _, found := v.candidate()
	v.control.Unlock()
	if !found {
		v.jobs.forget()
		return
	}
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		return
	}
	e.users++
	s.jobGroup.Add(1)
	s.mu.Unlock()
	e.mu.Lock()
	e.refs++
	idle := v.epoch != 0 && e.device == nil || e.leaving
	e.mu.Unlock()
	if idle {
		s.giveUp(id, e)
		return
	}
	ctx, done := v.jobs.start()
	if done == nil {
		s.giveUp(id, e)
		return
	}
	go func() {
		s.work(ctx, v)
		s.giveUp(id, e)
		v.jobs.ended(done)
	}()
}

// giveUp ends what kick took.
func (s *Store) giveUp(id san.UUID, e *entry) {
	if err := s.release(id, e); err != nil {
		s.log.Error("close volume after background work", "volume", id, "error", err)
	}
	s.jobGroup.Done()
}

// start prepares for a goroutine; nil: none is wanted, or the one that runs
// will see to it.
func (j *jobs) start() (context.Context, chan struct{}) {
	for {
		j.mu.Lock()
		switch {
		case j.hold > 0:
			j.mu.Unlock()
			return nil, nil
		case j.done == nil:
			ctx, cancel := context.WithCancel(context.Background())
			j.cancel, j.done, j.again, j.ending = cancel, make(chan struct{}), false, false
			done := j.done
			j.mu.Unlock()
			return ctx, done
		case !j.ending:
			j.again = true
			j.mu.Unlock()
			return nil, nil
		}
		done := j.done
		j.mu.Unlock()
		<-done
	}
}

func (j *jobs) ended(done chan struct{}) {
	j.mu.Lock()
	j.cancel()
	j.done = nil
	j.mu.Unlock()
	close(done)
}

// work merges until there is nothing left to merge, or an error.
func (s *Store) work(ctx context.Context, v *volume) {
	for {
		err := v.mergeAll(ctx)
		j := &v.jobs
		j.mu.Lock()
		if err == nil && j.again && ctx.Err() == nil {
			j.again = false
			j.mu.Unlock()
			continue
		}
		j.ending = true
		if j.state != nil {
			j.state.Running = false
		}
		if err == nil {
			j.state = nil
		}
		if err != nil && ctx.Err() == nil {
			if j.state == nil {
				j.state = &Job{Volume: v.id, Kind: "merge", Started: time.Now()}
			}
			j.state.Error = err.Error()
			s.log.Warn("background merge stopped", "volume", v.id, "error", err)
		}
		j.mu.Unlock()
		return
	}
}

// Jobs lists the background work of the volumes that this process has loaded.
func (s *Store) Jobs() []Job {
	var list []Job
	for _, v := range s.loaded() {
		if j, ok := v.jobs.report(); ok {
			j.Volume = v.id
			list = append(list, j)
		}
	}
	return list
}

// yield lets commands go first: it waits until none is in flight, for a while.
func (v *volume) yield(ctx context.Context) error {
	for range 20 {
		if v.busy.Load() == 0 {
			break
		}
		t := time.NewTimer(500 * time.Microsecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
	return ctx.Err()
}
