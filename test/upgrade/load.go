package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/block"
	"sango/internal/initiator"
	"sango/internal/multipath"
)

const (
	blockSize = 4096
	workers   = 8
	share     = 256 // blocks of each worker
)

// load is a host at work through all gateways: what it reads must be what it wrote.
type load struct {
	dev  *multipath.Device
	quit context.CancelFunc
	wg   sync.WaitGroup

	done    atomic.Int64 // reads and writes
	longest atomic.Int64 // that one took, in nanoseconds

	mu   sync.Mutex // guards errs
	errs []error
}

// startLoad attaches a volume through portals, and begins.
func startLoad(ctx context.Context, portals []string) (*load, error) {
	cfg := multipath.Config{Initiator: "iqn.2026-11.example:upgrade", Queue: -1, Logger: slog.New(slog.DiscardHandler)}
	for _, p := range portals {
		cfg.URLs = append(cfg.URLs, initiator.URL{Host: p, Target: target, LUN: 0})
	}
	dev, err := multipath.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	l := &load{dev: dev}
	run, quit := context.WithCancel(ctx)
	l.quit = quit
	for w := range workers {
		l.wg.Go(func() {
			if err := l.work(run, w); err != nil {
				l.mu.Lock()
				l.errs = append(l.errs, fmt.Errorf("worker %d: %w", w, err))
				l.mu.Unlock()
			}
		})
	}
	return l, nil
}

// work writes and reads the blocks of a worker until ctx is done, and then reads all of them.
func (l *load) work(ctx context.Context, w int) error {
	r := rand.New(rand.NewPCG(uint64(w), 1))
	var versions [share]uint64
	buf := make([]byte, blockSize)
	for n := uint64(1); ctx.Err() == nil; n++ {
		i := r.IntN(share)
		if err := l.check(w, i, versions[i], buf); err != nil {
			return err
		}
		fill(buf, w, i, n)
		if err := l.do(block.OpWrite, w, i, buf); err != nil {
			return err
		}
		versions[i] = n
	}
	for i, v := range versions {
		if err := l.check(w, i, v, buf); err != nil {
			return err
		}
	}
	return nil
}

// fill makes what a block holds in a version.
func fill(b []byte, w, i int, version uint64) {
	x := version
	if x > 0 {
		x = x<<16 | uint64(w)<<12 | uint64(i)
	}
	for at := 0; at < len(b); at += 8 {
		binary.LittleEndian.PutUint64(b[at:], x)
	}
}

func (l *load) check(w, i int, version uint64, buf []byte) error {
	if err := l.do(block.OpRead, w, i, buf); err != nil {
		return err
	}
	want := make([]byte, blockSize)
	if fill(want, w, i, version); string(want) != string(buf) {
		return fmt.Errorf("block %d holds %x..., and %x... was written last", i, buf[:8], want[:8])
	}
	return nil
}

func (l *load) do(op block.Op, w, i int, buf []byte) error {
	began := time.Now()
	err := block.Do(l.dev, op, 0, int64(w*share+i)*blockSize, blockSize, buf)
	took := int64(time.Since(began))
	for old := l.longest.Load(); took > old && !l.longest.CompareAndSwap(old, took); old = l.longest.Load() {
	}
	l.done.Add(1)
	if err != nil {
		return fmt.Errorf("%v of block %d: %w", op, i, err)
	}
	return nil
}

// since returns how much was done, and the longest that took, since it was asked last.
func (l *load) since() (done int64, longest time.Duration) {
	return l.done.Swap(0), time.Duration(l.longest.Swap(0))
}

// failed returns what has gone wrong so far.
func (l *load) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}

// endTime is what the last reads may take.
const endTime = time.Minute

// end ends the load, and returns what went wrong. Where nobody serves any more it does not wait.
func (l *load) end(served bool) error {
	l.quit()
	if !served {
		err := l.failed()
		l.dev.Abandon()
		l.wg.Wait()
		return err
	}
	stuck := time.AfterFunc(endTime, l.dev.Abandon)
	defer stuck.Stop()
	l.wg.Wait()
	return errors.Join(l.failed(), l.dev.Close())
}
