package multipath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/block"
	"sango/internal/initiator"
)

// user works on a device: each worker writes version after version to blocks
// of its own and reads them back. What a device that was given up leaves
// undone is done again on the next one, as the kernel does it.
type user struct {
	w   *world
	mu  sync.Mutex // guards dev and next
	dev *Device
	now chan struct{} // closed when dev has been replaced
}

func (u *user) device() (*Device, chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.dev, u.now
}

// do does a request until a device has done it.
func (u *user) do(r func(d *Device) error) error {
	for {
		d, next := u.device()
		err := r(d)
		if block.ClassOf(err) != block.Closed {
			return err
		}
		<-next
	}
}

// work does so many writes to n blocks from first on.
func (u *user) work(first, n, writes int) error {
	wrote := make([]uint64, n)
	buf := make([]byte, worldBlock)
	for i := range writes {
		k := i % n
		off := int64(first+k) * worldBlock
		version := uint64(i + 1)
		if err := u.do(func(d *Device) error {
			data := make([]byte, worldBlock) // of this try alone
			binary.BigEndian.PutUint64(data, version)
			return block.WriteAt(d, data, off, 0)
		}); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		wrote[k] = version
		k = (i * 7) % n
		off = int64(first+k) * worldBlock
		if err := u.do(func(d *Device) error { return block.ReadAt(d, buf, off) }); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if got := binary.BigEndian.Uint64(buf); got != wrote[k] {
			return fmt.Errorf("block %d was read as version %d, want %d", first+k, got, wrote[k])
		}
		if i%16 == 0 {
			if err := u.do(func(d *Device) error { return block.Flush(d) }); err != nil {
				return fmt.Errorf("flush: %w", err)
			}
		}
	}
	return nil
}

// deviceHistory plays one history with whole devices.
func deviceHistory(t *testing.T, seed uint64, noFence bool) (w *world, err error) {
	const workers, blocks = 4, 3
	w = newWorld(seed, workers*blocks)
	run := uint64(0)
	open := func() (*Device, error) {
		run++
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		return Open(ctx, Config{
			URLs:      []initiator.URL{{Host: "a:3260", Target: testTarget}, {Host: "b:3260", Target: testTarget}},
			Initiator: testHost, Group: 7, Run: run, TakeOver: run > 1, Queue: -1, Command: 3 * time.Second, Check: time.Second,
			LoginTimeout: 3 * time.Second, Logger: testLogger(t), keep: w.keep, noFence: noFence,
		})
	}
	d, err := open()
	if err != nil {
		return w, err
	}
	u := &user{w: w, dev: d, now: make(chan struct{})}
	errs := make(chan error, workers)
	for i := range workers {
		go func() { errs <- u.work(i*blocks, blocks, 60) }()
	}
	for range 12 {
		w.mu.Lock()
		pause, kill := time.Duration(w.r.Int64N(int64(time.Second))), w.r.IntN(8) == 0
		w.mu.Unlock()
		<-time.After(pause)
		w.disturb()
		if !kill {
			continue
		}
		d.Abandon()
		if d, err = open(); err != nil {
			return w, err
		}
		u.mu.Lock()
		u.dev = d
		close(u.now)
		u.now = make(chan struct{})
		u.mu.Unlock()
	}
	w.mu.Lock()
	w.faults = false
	w.mu.Unlock()
	for range workers {
		select {
		case e := <-errs:
			err = errors.Join(err, e)
		case <-time.After(10 * time.Minute):
			v := d.View()
			t.Fatalf("seed %d: it does not end: %s", seed, show(&v))
		}
	}
	if e := d.Close(); err == nil && e != nil {
		err = fmt.Errorf("close: %w", e)
	}
	<-time.After(time.Minute) // for what is still on its way
	w.mu.Lock()
	defer w.mu.Unlock()
	return w, errors.Join(err, w.failed)
}

// TestDeviceHistories does with whole devices, over simulated sessions in
// simulated time, what TestHistories does with the engine alone.
func TestDeviceHistories(t *testing.T) {
	ghosts, fenced := 0, 0
	for i := range max(*histories/10, 1) {
		seed := *firstSeed + uint64(i)
		synctest.Test(t, func(t *testing.T) {
			w, err := deviceHistory(t, seed, false)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			ghosts, fenced = ghosts+w.ghosts, fenced+w.fenced
		})
	}
	t.Logf("%d histories from seed %d: %d ghosts, %d sessions fenced", *histories/10, *firstSeed, ghosts, fenced)
}

// TestDeviceHistoriesNeedTheFence is the test of TestDeviceHistories: without
// the fence older writes undo newer ones, and it must see that.
func TestDeviceHistoriesNeedTheFence(t *testing.T) {
	for seed := uint64(1); seed <= 500; seed++ {
		var err error
		synctest.Test(t, func(t *testing.T) { _, err = deviceHistory(t, seed, true) })
		if err != nil && strings.Contains(err.Error(), "was undone by") {
			return
		}
	}
	t.Error("without the fence, no write was undone in 500 histories")
}
