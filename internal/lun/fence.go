package lun

import "sync/atomic"

// fence waits for the end of tasks. It starts with one count for its maker,
// who gives it up with end when all tasks are added; done is called when the
// last count is gone, from whatever goroutine that happens on.
type fence struct {
	n    atomic.Int32
	done func()
}

func newFence(done func()) *fence {
	f := &fence{done: done}
	f.n.Store(1)
	return f
}

func (f *fence) add() { f.n.Add(1) }

func (f *fence) end() {
	if f.n.Add(-1) == 0 {
		f.done()
	}
}

// waitFence calls fill with a fence and returns when it is done.
func waitFence(fill func(*fence)) {
	done := make(chan struct{})
	f := newFence(func() { close(done) })
	fill(f)
	f.end()
	<-done
}
