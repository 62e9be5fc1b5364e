package target

import (
	"runtime"
	"testing"
	"time"

	"sango/internal/iscsi"
)

// queued waits until n answers wait to be sent.
func (c *conn) queued(n int) {
	for {
		c.mu.Lock()
		have := len(c.out.queue)
		c.mu.Unlock()
		if have == n {
			return
		}
		runtime.Gosched()
	}
}

// readsOf sends n reads that the device keeps, and returns the session.
func (s *setup) readsOf(i *initiator, n int) *conn {
	s.t.Helper()
	i.ready()
	s.dev.Hold()
	for range n {
		i.command(command{cdb: read10(0, 1), read: true, expected: 512})
	}
	c := s.all(true)[0]
	for {
		c.mu.Lock()
		have := len(c.tasks)
		c.mu.Unlock()
		if have == n {
			return c
		}
		runtime.Gosched()
	}
}

// Answers wait for Uncork, however many corks there are.
func TestCork(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.NopInterval = time.Hour })
	i := connect(t, s)
	c := s.readsOf(i, 3)
	c.Cork()
	c.Cork()
	s.dev.Release()
	c.queued(3)
	c.Uncork()
	c.queued(3)
	c.Uncork()
	for range 3 {
		if h, _ := i.recv(); h.Opcode() != iscsi.OpDataIn {
			t.Errorf("a %v", h.Opcode())
		}
	}
	i.ready()
}

// A session that ends takes no regard of corks.
func TestCorkOfASessionThatEnds(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.NopInterval = time.Hour })
	i := connect(t, s)
	c := s.readsOf(i, 1)
	c.Cork()
	s.dev.Release()
	c.queued(1)
	c.Drop("test")
	var got []iscsi.Opcode
	for _, h := range i.closed() {
		got = append(got, h.Opcode())
	}
	if len(got) != 2 || got[0] != iscsi.OpDataIn || got[1] != iscsi.OpAsync {
		t.Errorf("before the end: %v", got)
	}
	<-c.done
	c.Uncork()
}

// What is left for the reader is done once it has taken what there is, in order,
// and when the session ends; nothing is left for one that waits.
func TestDefer(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.NopInterval = time.Hour })
	i := connect(t, s)
	i.ready()
	c := s.all(true)[0]
	did := make(chan int, 3)
	for c.Defer(func() { did <- 0 }) { // it reads still
		<-did
	}
	c.cork()
	for n := range 2 {
		if !c.Defer(func() { did <- n + 1 }) {
			t.Error("refused by a reader at work")
		}
	}
	i.ready()
	if a, b := <-did, <-did; a != 1 || b != 2 {
		t.Errorf("%d, %d", a, b)
	}
	for c.Defer(func() { did <- 0 }) {
		<-did
	}
	c.cork()
	c.Defer(func() { did <- 3 })
	c.Drop("test")
	i.closed()
	if n := <-did; n != 3 {
		t.Errorf("%d", n)
	}
	<-c.done
	if c.Defer(func() {}) {
		t.Error("left for a reader that is gone")
	}
}
