package bench

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/block"
)

// job is one session.
type job struct {
	run    *run
	vol    Volume
	cursor atomic.Int64 // the next place of a sequential load
	shard  *shard
	ios    int64 // answered without an error; guarded by shard.mu
}

// maxShards bounds the memory that histograms take, and the time to merge
// them.
const maxShards = 16

// shard is where some of the sessions count; few have one of their own.
type shard struct {
	mu    sync.Mutex
	tally [2]*tally // reads, writes; guarded by mu
	spare [2]*tally // the collector's
}

func newShard() *shard {
	return &shard{tally: [2]*tally{newTally(), newTally()}, spare: [2]*tally{newTally(), newTally()}}
}

// slot issues one request after the other.
type slot struct {
	job   *job
	req   block.Request
	bufs  [1][]byte
	rng   *rand.PCG
	write bool
	place int64
	gen   uint32
	due   time.Duration // when the request was to be issued, since run.begin
	now   time.Duration // when the last answer came, since run.begin
	// turns counts the two who are done with a request: Submit has returned,
	// Done was called. The second one goes on.
	turns atomic.Int32
}

// loop issues requests until one of them is not answered at once, or the run
// ends.
func (s *slot) loop() {
	for s.prepare() {
		if !s.issue() {
			return
		}
	}
}

// issue submits the request and reports whether it was answered meanwhile.
func (s *slot) issue() bool {
	s.turns.Store(0)
	s.req.Err = nil
	s.job.vol.Submit(&s.req)
	return s.turns.Add(1) == 2
}

// done takes an answer.
func (s *slot) done(*block.Request) {
	s.finish()
	if s.turns.Add(1) == 2 {
		s.loop()
	}
}

// resume goes on after a wait for due.
func (s *slot) resume() {
	if s.issue() {
		s.loop()
	}
}

// prepare makes the next request. It reports false when the run is over for
// this slot, or when it is not due yet.
func (s *slot) prepare() bool {
	r := s.job.run
	if r.stopped.Load() {
		r.leave()
		return false
	}
	var n int64
	if r.cfg.Count > 0 || r.cfg.Rate > 0 {
		n = r.issued.Add(1) - 1
	}
	if r.cfg.Count > 0 && n >= r.cfg.Count || !s.pick() {
		r.halt() // nothing is left to issue
		r.leave()
		return false
	}
	s.req.Op, s.req.Off, s.req.Flags = opOf(s.write), r.off+s.place*r.cfg.Request, 0
	if s.write {
		if r.cfg.FUA {
			s.req.Flags = block.FUA
		}
		if r.verify != nil {
			s.gen = r.verify.next(s.place)
			r.verify.fill(s.bufs[0], s.place, s.gen)
		}
	}
	switch {
	case r.cfg.Rate == 0 && r.verify == nil && s.now > 0:
		// The clock costs as much as all else that is done between an answer and
		// the next request, which count as the latency of that.
		s.due = s.now
		return true
	case r.cfg.Rate == 0:
		s.due = time.Since(r.begin)
		return true
	}
	s.due = time.Duration(float64(n) * 1e9 / r.cfg.Rate)
	if s.due <= time.Since(r.begin) {
		return true
	}
	r.pace <- s // holds all slots
	return false
}

// pick chooses what to do, and where. It reports false when nothing is left.
func (s *slot) pick() bool {
	r := s.job.run
	if r.choose != nil {
		var ok bool
		s.write = false
		s.place, ok = r.choose()
		return ok
	}
	p := r.cfg.Pattern
	s.write = p.Writes()
	if p.Writes() && p.Reads() {
		s.write = s.uniform(100) >= int64(r.cfg.Mix)
	}
	if p.Random() {
		s.place = s.uniform(r.places)
	} else {
		s.place = (s.job.cursor.Add(1) - 1) % r.places
	}
	if r.verify != nil {
		s.place = r.verify.take(s.place)
	}
	return true
}

// uniform returns a random number below n.
func (s *slot) uniform(n int64) int64 {
	// The bias is below n in 2^64.
	hi, _ := bits.Mul64(s.rng.Uint64(), uint64(n))
	return int64(hi)
}

// finish counts an answer.
func (s *slot) finish() {
	r := s.job.run
	s.now = time.Since(r.begin)
	ns := int64(s.now - s.due)
	err := s.req.Err
	failed := err != nil
	if v := r.verify; v != nil {
		if !s.write && !failed {
			unknown, bad := v.check(s.bufs[0], s.place)
			r.checked.Add(1)
			r.unknown.Add(unknown)
			if bad != nil {
				r.miscompares.Add(1)
				err, failed = bad, true
			}
		}
		v.leave(s.place, s.write, s.gen, failed)
	}
	t := 0
	if s.write {
		t = 1
	}
	j := s.job
	j.shard.mu.Lock()
	j.shard.tally[t].record(ns, r.cfg.Request, failed)
	if !failed {
		j.ios++
	}
	j.shard.mu.Unlock()
	if failed {
		r.fail(err)
	}
}

// errUnanswered is what happened to requests that a run gives up.
var errUnanswered = errors.New("no answer")
