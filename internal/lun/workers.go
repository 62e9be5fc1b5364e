package lun

import "sync"

// workers are the goroutines of a unit that may block: at most max, made when
// there is work for them, of which a few stay when there is none.
type workers struct {
	max int

	mu          sync.Mutex // guards the fields below
	wake        sync.Cond
	first, last *Task // queue, linked by qnext
	n, idle     int
	closed      bool
	wg          sync.WaitGroup
}

// keepIdle is how many goroutines wait for work rather than end.
const keepIdle = 2

func newWorkers(max int) *workers {
	w := &workers{max: max}
	w.wake.L = &w.mu
	return w
}

// push queues a chain of tasks, linked by qnext; nil is none.
func (w *workers) push(chain *Task) {
	if chain == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for t := chain; t != nil; {
		next := t.qnext
		t.qnext = nil
		if t.grant != nil {
			t.grant <- true
			t = next
			continue
		}
		if w.last != nil {
			w.last.qnext = t
		} else {
			w.first = t
		}
		w.last = t
		switch {
		case w.idle > 0:
			w.idle-- // taken by the one that wakes
			w.wake.Signal()
		case w.n < w.max:
			w.n++
			w.wg.Add(1)
			go w.work()
		}
		t = next
	}
}

func (w *workers) work() {
	defer w.wg.Done()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for w.first == nil {
			if w.closed || w.idle >= keepIdle {
				w.n--
				return
			}
			w.idle++
			w.wake.Wait()
		}
		t := w.first
		if w.first = t.qnext; w.first == nil {
			w.last = nil
		}
		t.qnext = nil
		w.mu.Unlock()
		t.unit.execute(t, true)
		w.mu.Lock()
	}
}

// close waits for the queue to be empty and the goroutines to end.
func (w *workers) close() {
	w.mu.Lock()
	w.closed = true
	w.wake.Broadcast()
	w.mu.Unlock()
	w.wg.Wait()
}
