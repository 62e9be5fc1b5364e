package multipath

import (
	"sync"

	"sango/internal/block"
	"sango/internal/initiator"
)

// window is how many commands of one request are under way together.
const window = 16

// job is a block request on its way. It is cut into pieces of one command
// each; up to window of them are under way together.
type job struct {
	d *Device
	r *block.Request
	s *shape // by which it is cut

	mu    sync.Mutex // guards what follows
	at    int64      // where the next piece starts, bytes
	end   int64
	out   int   // pieces under way
	err   error // the first one
	flush bool  // a flush is still to follow, since the request has FUA
	count bool  // the device's gauge counts the request

	first piece    // most requests need no other
	more  []*piece // made when first needed, kept for the next request
}

// piece is one command of a job.
type piece struct {
	req request // the engine's
	blk block.Request
	cmd initiator.Command
	job *job

	vec   [][]byte    // its part of the job's buffers
	param [24]byte    // parameter list of UNMAP
	want  int64       // bytes that the command moves when it ends well; -1: it may move less
	ended func(error) // instead of job.left, where it is no part of a block request
}

func newJob() any {
	j := &job{}
	j.first.init(j)
	return j
}

func (p *piece) init(j *job) {
	p.job, p.req.blk, p.req.user = j, &p.blk, p
	p.cmd.Done, p.cmd.User = commandDone, p
}

// start begins the job of r, which is valid and not empty. counted: the gauge
// counts it.
func (d *Device) start(r *block.Request, s *shape, counted bool) {
	j := d.jobs.Get().(*job)
	j.d, j.r, j.s, j.count = d, r, s, counted
	j.at, j.end = r.Off, r.Off+r.Len
	if s.stable(r) && s.writeBack {
		j.flush = r.Op != block.OpWrite || !s.fua
	}
	if r.Op == block.OpFlush {
		j.end, j.flush = 0, true
	}
	j.mu.Lock()
	j.out++ // for this loop
	j.mu.Unlock()
	j.launch(&j.first)
	for i := 0; j.pending(); i++ {
		if i == window-1 {
			break
		}
		if i == len(j.more) {
			p := &piece{}
			p.init(j)
			j.more = append(j.more, p)
		}
		j.launch(j.more[i])
	}
	j.left(nil, nil)
}

// pending reports whether a piece can be launched beside those under way.
func (j *job) pending() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err == nil && j.at < j.end
}

// launch sends the next piece of the job as p, if there is one.
func (j *job) launch(p *piece) {
	j.mu.Lock()
	if !j.take(p) {
		j.mu.Unlock()
		return
	}
	j.out++
	j.mu.Unlock()
	j.d.step(event{kind: evSubmit, req: &p.req})
}

// take makes p the next piece of the job; false if there is none now. The
// caller holds mu.
func (j *job) take(p *piece) bool {
	switch {
	case j.err != nil:
		return false
	case j.at < j.end:
		j.at += p.cut(j.r, j.s, j.at, j.end)
		return true
	case j.flush && j.out <= 1: // all else has ended; the caller of start or left is the one
		j.flush = false
		p.sync(j.s)
		return true
	}
	return false
}

// left counts a piece less, which ended with err; p is free for the next one.
func (j *job) left(p *piece, err error) {
	j.mu.Lock()
	if err != nil && j.err == nil {
		j.err = err
	}
	if p == nil {
		p = &j.first
		if j.out > 1 { // first may be under way
			j.out--
			j.mu.Unlock()
			return
		}
	}
	if j.take(p) {
		j.mu.Unlock()
		j.d.step(event{kind: evSubmit, req: &p.req})
		return
	}
	j.out--
	done := j.out == 0
	j.mu.Unlock()
	if done {
		j.finish()
	}
}

// finish ends the request and gives the job back.
func (j *job) finish() {
	d, r, err, counted := j.d, j.r, j.err, j.count
	j.first.forget()
	for _, p := range j.more {
		p.forget()
	}
	j.d, j.r, j.s, j.err, j.flush = nil, nil, nil, nil, false
	d.jobs.Put(j)
	r.End(err)
	if counted {
		d.gauge.Leave()
	}
}

// forget drops what belongs to the caller.
func (p *piece) forget() {
	clear(p.vec)
	p.vec = p.vec[:0]
	p.cmd.In, p.cmd.Out = nil, nil
	p.blk = block.Request{}
}
