package cluster

import (
	"context"
	"sync"
	"time"

	"sango/internal/cluster/model"
)

// machine is one of the model's.
type machine interface {
	Step(now model.Instant, ev model.Event) []model.Effect
	Wake() (model.Instant, bool)
}

// pump brings a machine its events, one at a time, with the time, and a Tick
// when it wants one. What waits in it is bounded by what there is to be
// answered: one event for each request under way, one batch of the stream, and
// one for each caller.
type pump struct {
	now  func() model.Instant
	wake chan struct{} // there is something in queue

	mu    sync.Mutex // guards what follows
	queue []item
	over  bool
}

// item is an event, or something to do between two steps.
type item struct {
	ev   model.Event
	do   func()
	done chan struct{} // closed when it was taken, or never will be; may be nil
}

func newPump(now func() model.Instant) *pump { return &pump{now: now, wake: make(chan struct{}, 1)} }

// post hands an event over. After the end of the pump it is dropped.
func (p *pump) post(ev model.Event) { p.put(item{ev: ev}) }

// wait hands over an event, or something to do (one of them nil), and returns
// when that is done. It reports whether the pump did it.
func (p *pump) wait(ctx context.Context, ev model.Event, do func()) bool {
	it := item{ev: ev, done: make(chan struct{})}
	did := false
	it.do = func() {
		if do != nil {
			do()
		}
		did = true
	}
	if !p.put(it) {
		return false
	}
	select {
	case <-it.done:
		return did
	case <-ctx.Done():
		return false
	}
}

func (p *pump) put(it item) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	p.queue = append(p.queue, it)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return true
}

func (p *pump) take() []item {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queue
	p.queue = nil
	return q
}

// run serves m until ctx is done or effects, which is given what each step
// returned, reports that it was the last.
func (p *pump) run(ctx context.Context, m machine, effects func([]model.Effect) (more bool)) {
	defer p.end()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if at, ok := m.Wake(); ok {
			timer.Reset(time.Duration(at - p.now()))
		} else {
			timer.Stop()
		}
		var items []item
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			items = []item{{ev: model.Tick{}}}
		case <-p.wake:
			items = p.take()
		}
		for i, it := range items {
			more := true
			if it.ev != nil {
				more = effects(m.Step(p.now(), it.ev))
			}
			if it.do != nil {
				it.do()
			}
			it.close()
			if !more || ctx.Err() != nil {
				for _, it := range items[i+1:] {
					it.close()
				}
				return
			}
		}
	}
}

// end lets nobody wait for what will not be done.
func (p *pump) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, it := range p.queue {
		it.close()
	}
	p.queue = nil
}

func (it item) close() {
	if it.done != nil {
		close(it.done)
	}
}

// lane does things at the same time, but no more than most of them.
type lane struct {
	most int
	wg   *sync.WaitGroup // of who waits for them

	mu      sync.Mutex // guards what follows
	running int
	queue   []func()
}

func (l *lane) do(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running >= l.most {
		l.queue = append(l.queue, f)
		return
	}
	l.running++
	l.wg.Go(func() {
		for f := f; f != nil; f = l.next() {
			f()
		}
	})
}

func (l *lane) next() (f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.running--
		return nil
	}
	f, l.queue = l.queue[0], l.queue[1:]
	return f
}
