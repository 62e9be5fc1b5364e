package ublk

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/attach/ublk/uapi"
	"sango/internal/block"
)

func TestQueueIsWokenOnce(t *testing.T) {
	_, q := bench(nil, true)
	if q.push(1) {
		t.Error("a queue that is awake was to be woken")
	}
	if sleep, quit := q.sleep(); sleep || quit {
		t.Error("sleeps with work to do")
	}
	if q.done = nil; q.push(2) {
		t.Error("a queue that did not go to sleep was to be woken")
	}
	q.done = nil
	if sleep, _ := q.sleep(); !sleep {
		t.Error("does not sleep")
	}
	if !q.push(1) || q.push(3) {
		t.Error("the first one wakes, the second one finds it awake")
	}
	if err := q.leave(); err != nil { // awake: no event is needed
		t.Error(err)
	}
	if sleep, quit := q.sleep(); sleep || !quit {
		t.Error("did not leave")
	}
}

// Requests end on many goroutines while a queue without a driver sleeps, wakes and takes what has ended: none is lost.
func TestNoWakeUpIsLost(t *testing.T) {
	runtime.LockOSThread() // the ring is this thread's
	defer runtime.UnlockOSThread()
	submitted := make(chan *block.Request, 4)
	_, q := bench(&script{submit: func(r *block.Request) { submitted <- r }}, true)
	var err error
	if q.event, err = uapi.NewEvent(); err != nil {
		t.Fatal(err)
	}
	if q.ring, err = setupRing(4); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for r := range submitted {
				r.End(nil)
			}
		})
	}
	if err := q.event.Put(q.ring, userEvent); err != nil {
		t.Fatal(err)
	}
	const rounds = 20000
	begun, ended := 0, 0
	free := []uint16{0, 1, 2, 3}
	for ended < rounds {
		for _, tag := range free {
			if begun < rounds {
				begun++
				q.slots[tag].begin(uapi.Desc{OpFlags: 1, Sectors: 1})
			}
		}
		free = free[:0]
		if sleep, _ := q.sleep(); sleep {
			if err := q.ring.Enter(1); err != nil {
				t.Fatal(err)
			}
			q.wake()
			if err := q.reap(); err != nil {
				t.Fatal(err)
			}
		}
		q.mu.Lock()
		free = append(free, q.done...)
		q.done = q.done[:0]
		q.mu.Unlock()
		ended += len(free)
	}
	close(submitted)
	wg.Wait()
	if err := errors.Join(q.close(), q.release()); err != nil {
		t.Error(err)
	}
}

func TestOwnThread(t *testing.T) {
	seen := make(chan int, 8)
	for range cap(seen) {
		go onOwnThread(func() { seen <- unix.Gettid() })
	}
	for range cap(seen) {
		if tid := <-seen; tid == os.Getpid() {
			t.Error("ran on the main thread, which outlives its goroutine")
		}
	}
}

func TestControlIsCancelled(t *testing.T) {
	c := &control{fd: -1}
	var err error
	if c.ring, err = uapi.Setup(4, uapi.SetupSQE128); err != nil {
		t.Fatal(err)
	}
	if c.wake, err = uapi.NewEvent(); err != nil {
		t.Fatal(err)
	}
	if err := c.wake.Put(c.ring, userWake); err != nil {
		t.Fatal(err)
	}
	never, err := uapi.NewEvent()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // a wake-up that comes too late harms no later call
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(cancel)
		if _, err := c.run(ctx, func(r *uapi.Ring) error { return never.Put(r, userCommand) }); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		wg.Wait()
		if res, err := c.run(t.Context(), func(r *uapi.Ring) error { return r.PutNop(userCommand) }); err != nil || res != 0 {
			t.Fatalf("%d, %v", res, err)
		}
	}
	if err := errors.Join(c.close(), c.close(), never.Close()); err != nil {
		t.Error(err)
	}
	if err := c.call(t.Context(), uapi.CmdStopDev, 0, 0, 0, nil, nil); err == nil {
		t.Error("a closed one takes commands")
	}
}

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := errors.New("busy")
		n := 0
		err := poll(t.Context(), time.Second, func() (bool, error) {
			n++
			return n == 5, nil
		})
		if err != nil || n != 5 {
			t.Errorf("%d times, %v", n, err)
		}
		begin := time.Now()
		if err := poll(t.Context(), time.Second, func() (bool, error) { return false, busy }); !errors.Is(err, busy) {
			t.Error(err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Error(took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := poll(ctx, time.Hour, func() (bool, error) { return false, busy }); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, busy) {
			t.Error(err)
		}
	})
}

// A disk that fails to start gives up queues that wait for its file, and those that did not get so far.
func TestGiveUpBeforeTheFileIsOpen(t *testing.T) {
	for _, depth := range []uint16{8, 0} { // io_uring and mmap refuse 0 bytes
		d := &Disk{
			log: slog.Default(), char: -1, begin: make(chan struct{}), ended: make(chan struct{}),
			info: uapi.DevInfo{Queues: 3, Depth: depth, MaxIOBytes: 4096},
		}
		d.opt.fill()
		if err := d.prepare(); (err != nil) != (depth == 0) {
			t.Fatalf("depth %d: %v", depth, err)
		}
		if err := d.giveUp(); err != nil {
			t.Error(err)
		}
		for _, q := range d.queues {
			if q.asleep {
				t.Error("a queue that is gone would be woken")
			}
		}
		d.leave() // wakes nobody
	}
}

func TestNoFailureOnTheWayOut(t *testing.T) {
	broken := errors.New("refused")
	d, q := bench(nil, true)
	d.ended = make(chan struct{})
	close(d.ended)
	d.left = true
	d.fail(broken)
	if err := d.Wait(); err != nil || !q.leaving() {
		t.Errorf("%v, leaving: %v", err, q.leaving())
	}
	d.left = false
	d.fail(broken)
	if err := d.Wait(); !errors.Is(err, broken) {
		t.Error(err)
	}
}
