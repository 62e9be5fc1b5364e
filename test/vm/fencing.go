package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// rivals is two guests that use a volume of three gateways: the first by the gateways 1 and 3, the second by 2 and 3.
type rivals struct {
	*together
	places meeting

	mu     sync.Mutex // guards what follows
	guests [2]*os.Process
	stop   context.CancelFunc // ends the moves; nil: there are none
	moved  chan moves
}

// moves is what became of the moves of a volume.
type moves struct {
	n   int
	err error
}

// prepareFence serves a volume to two guests.
func prepareFence(ctx context.Context, o options, share string) (*outside, error) {
	t, err := startTogether(ctx, o.sango, share, []string{"shared", "64M"})
	if err != nil {
		return nil, err
	}
	r := &rivals{together: t}
	side := func(i int) *outside {
		return &outside{
			env: []string{
				"TARGET=" + clusterTarget, "INITIATOR=" + initiator + strconv.Itoa(i+1), "ME=" + strconv.Itoa(i+1),
				"PORTAL1=" + t.Portals[i], "PORTAL2=" + t.Portals[2],
			},
			qemu: []string{"-m", "768"},
			do: func(ctx context.Context, verb string, args []string) (string, error) {
				return r.do(ctx, i, verb, args)
			},
			started: func(qemu *os.Process) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.guests[i] = qemu
			},
		}
	}
	out := side(0)
	out.twin, out.close = side(1), r.close
	return out, nil
}

// do does what guest i asks for: "meet NAME" waits until the other one has come as far, "freeze" and "thaw" stop the other
// one's machine and let it go on, "wander VOLUME" and "rest" move a volume from gateway to gateway all the time. The rest
// is that of every cluster.
func (r *rivals) do(ctx context.Context, i int, verb string, args []string) (string, error) {
	switch {
	case verb == "meet" && len(args) == 1:
		return "", r.places.meet(ctx, args[0])
	case verb == "freeze" && len(args) == 0:
		return "", r.signal(1-i, syscall.SIGSTOP)
	case verb == "thaw" && len(args) == 0:
		return "", r.signal(1-i, syscall.SIGCONT)
	case verb == "wander" && len(args) == 1:
		return "", r.wander(ctx, args[0])
	case verb == "rest" && len(args) == 0:
		return r.rest()
	}
	return r.together.do(ctx, verb, args)
}

func (r *rivals) signal(i int, s os.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.guests[i].Signal(s)
}

// wander begins to move a volume. It returns after the first move.
func (r *rivals) wander(ctx context.Context, volume string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		return errors.New("a volume wanders already")
	}
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.moved = make(chan moves, 1)
	first := make(chan struct{})
	go func() {
		var m moves
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for at := 0; ctx.Err() == nil && m.err == nil; at++ {
			if err := r.Move(context.WithoutCancel(ctx), volume, at%len(r.Portals)); err != nil {
				m.err = err
			} else {
				m.n++
			}
			if at == 0 {
				close(first)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		r.moved <- m
	}()
	<-first
	return nil
}

// rest ends wander, and tells how often the volume was moved.
func (r *rivals) rest() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop == nil {
		return "", errors.New("no volume wanders")
	}
	r.stop()
	r.stop = nil
	m := <-r.moved
	return strconv.Itoa(m.n), m.err
}

// close ends the moves and the gateways.
func (r *rivals) close() error {
	r.mu.Lock()
	wanders := r.stop != nil
	r.mu.Unlock()
	if wanders {
		_, _ = r.rest() // a guest failed, which was told
	}
	return r.together.close()
}

// meeting lets two wait for each other.
type meeting struct {
	mu   sync.Mutex    // guards what follows
	name string        // where one of them waits
	here chan struct{} // closed when the other one comes; nil: nobody waits
}

// meet returns when both have come to the place of this name.
func (m *meeting) meet(ctx context.Context, name string) error {
	m.mu.Lock()
	if m.here != nil {
		defer m.mu.Unlock()
		if m.name != name {
			return fmt.Errorf("the other guest waits at %s, not at %s", m.name, name)
		}
		close(m.here)
		m.here = nil
		return nil
	}
	c := make(chan struct{})
	m.name, m.here = name, c
	m.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
