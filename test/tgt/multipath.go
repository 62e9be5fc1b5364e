package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/block"
	"sango/internal/initiator"
	"sango/internal/multipath"
	"sango/test/harness"
)

// gone is how long both portals are away.
const gone = 20 * time.Second

// paths is a volume of tgtd over two portals, each behind a proxy, under a load that verifies.
type paths struct {
	ctx     context.Context
	d       *tgtd
	proxies []*harness.Proxy
	log     io.WriteCloser
	dev     *multipath.Device
	load    *pathLoad
}

// multipathSteps runs the fault script of the multipath engine. tgtd serves no FENCE, so that unanswered writes wait for
// the quiesce time.
func multipathSteps(ctx context.Context, rep *harness.Report, d *tgtd) {
	m := &paths{ctx: ctx, d: d}
	defer m.close()
	if !rep.Step("multipath: both portals lead to one volume", m.open) {
		return
	}
	rep.Step("multipath: every kind of request does what it says", m.kinds)
	m.load = startPathLoad(m.dev)
	rep.Step("multipath: one portal's connections are cut", m.step(m.cut))
	rep.Step("multipath: both portals' connections are cut", m.step(m.cutBoth))
	rep.Step("multipath: one portal refuses connections", m.step(m.refuse))
	rep.Step("multipath: one portal is silent", m.step(m.silence))
	rep.Step(fmt.Sprintf("multipath: both portals are gone for %v", gone), m.step(m.away))
	rep.Step("multipath: tgtd is killed and started again", m.step(m.restart))
	rep.Step("multipath: everything is as it was written last", m.finish)
}

func (m *paths) open() error {
	log, err := os.Create(filepath.Join(m.d.dir, "multipath.log"))
	if err != nil {
		return err
	}
	m.log = log
	cfg := multipath.Config{
		Initiator: "iqn.2026-11.test.tgt:paths", PingInterval: 500 * time.Millisecond, PingTimeout: 5 * time.Second,
		Queue: 2 * time.Minute, Check: time.Second, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
	for _, portal := range m.d.portals {
		p, err := harness.NewProxy(portal)
		if err != nil {
			return err
		}
		m.proxies = append(m.proxies, p)
		cfg.URLs = append(cfg.URLs, initiator.URL{Host: p.Addr(), Target: openTarget, LUN: 1})
	}
	ctx, cancel := context.WithTimeout(m.ctx, time.Minute)
	defer cancel()
	if m.dev, err = multipath.Open(ctx, cfg); err != nil {
		return err
	}
	if in := m.dev.Info(); in.Size != diskSize || in.BlockSize != blockSize {
		return fmt.Errorf("the volume is %+v", in)
	}
	return m.usable(len(m.proxies))
}

// kinds sends each kind of request, of odd and even sizes, past where the load is.
func (m *paths) kinds() error {
	const at, size = 32 << 20, 8 << 20
	caps := m.dev.Info().Caps
	fmt.Printf("     %+v, %+v\n", caps, m.dev.Limits())
	if caps.Discard == block.None {
		return errors.New("a thin disk does not look like one")
	}
	var breaches complaints
	dev := block.Check(m.dev, &breaches)
	want := random(size)
	if err := block.WriteAt(dev, want, at, block.FUA); err != nil {
		return err
	}
	for i, op := range []block.Op{block.OpDiscard, block.OpWriteZeroes, block.OpWriteZeroes} {
		for _, r := range [][2]int{{512, 512}, {1<<20 - 512, 64<<10 + 1024}, {2 << 20, 3<<20 + 512}} {
			off, n := r[0]+i*4096, r[1]
			flags := block.FUA
			if i == 2 {
				flags |= block.MayUnmap
			}
			if err := block.Do(dev, op, flags, int64(at+off), int64(n)); err != nil {
				return err
			}
			clear(want[off : off+n])
		}
	}
	if err := block.Flush(dev); err != nil {
		return err
	}
	got := make([]byte, size)
	if err := block.ReadAt(dev, got, at); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("the disk does not hold what was written and discarded")
	}
	_, err := dev.Status(at, size, 16)
	return errors.Join(append(breaches.errs, err)...)
}

// complaints collects breaches of the block contract.
type complaints struct {
	mu   sync.Mutex // guards errs
	errs []error
}

// Errorf implements block.Reporter.
func (c *complaints) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// usable waits until n paths may carry requests.
func (m *paths) usable(n int) error {
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		got := 0
		v := m.dev.View()
		for _, p := range v.Paths {
			if p.Usable {
				got++
			}
		}
		if got == n {
			return nil
		}
		select {
		case <-m.dev.Watch():
		case <-tick.C:
		case <-limit.C:
			return fmt.Errorf("%d paths are usable, not %d: %+v", got, n, v.Paths)
		case <-m.ctx.Done():
			return m.ctx.Err()
		}
	}
}

// step runs f under load, and prints the longest time that a request took.
func (m *paths) step(f func() error) func() error {
	return func() error {
		if err := m.load.more(m.ctx); err != nil {
			return err
		}
		m.load.longest.Store(0)
		retries := m.dev.View().Counters.Retries
		if err := f(); err != nil {
			return err
		}
		if err := m.usable(len(m.proxies)); err != nil {
			return err
		}
		if err := m.load.all(m.ctx); err != nil { // also those whose write waited for the quiesce time
			return err
		}
		v := m.dev.View()
		fmt.Printf("     longest stall %v, %d commands sent again\n", time.Duration(m.load.longest.Load()).Round(time.Millisecond), v.Counters.Retries-retries)
		return nil
	}
}

func (m *paths) cut() error {
	for _, p := range m.proxies {
		p.Cut()
		if err := errors.Join(m.load.more(m.ctx), m.usable(len(m.proxies))); err != nil {
			return err
		}
	}
	return nil
}

func (m *paths) cutBoth() error {
	for _, p := range m.proxies {
		p.Cut()
	}
	return m.load.more(m.ctx)
}

func (m *paths) refuse() error {
	p := m.proxies[0]
	p.Refuse()
	if err := errors.Join(m.load.more(m.ctx), m.usable(1)); err != nil {
		return err
	}
	return p.Accept()
}

func (m *paths) silence() error {
	p := m.proxies[1]
	p.Silence()
	defer p.Resume()
	return errors.Join(m.load.more(m.ctx), m.usable(1), m.load.more(m.ctx))
}

func (m *paths) away() error {
	for _, p := range m.proxies {
		p.Refuse()
	}
	t := time.NewTimer(gone)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
	for _, p := range m.proxies {
		if err := p.Accept(); err != nil {
			return err
		}
	}
	return nil
}

func (m *paths) restart() error {
	m.d.kill()
	return m.d.start(m.ctx)
}

// finish stops the load, reads everything once more, and closes.
func (m *paths) finish() error {
	err := errors.Join(m.load.end(), m.dev.Close())
	m.dev, m.load = nil, nil
	return err
}

func (m *paths) close() {
	for _, p := range m.proxies {
		p.Close()
	}
	if m.dev != nil {
		m.dev.Abandon()
	}
	if m.load != nil {
		_ = m.load.end() // it was a step that failed
	}
	if m.log != nil {
		_ = m.log.Close()
	}
}

// pathLoad writes to blocks of its own and reads them back, all the time.
type pathLoad struct {
	dev     block.Device
	stop    chan struct{}
	wg      sync.WaitGroup
	rounds  [loadWorkers]atomic.Int64
	longest atomic.Int64 // ns
	failed  chan error
	written [loadWorkers][loadSlots]uint64 // generation of each block; a worker's own
}

const (
	loadWorkers = 16
	loadSlots   = 64
	loadBytes   = 8192
)

func startPathLoad(dev block.Device) *pathLoad {
	l := &pathLoad{dev: dev, stop: make(chan struct{}), failed: make(chan error, loadWorkers)}
	for w := range loadWorkers {
		l.wg.Go(func() {
			if err := l.work(w); err != nil {
				l.failed <- err
			}
		})
	}
	return l
}

func (l *pathLoad) work(w int) error {
	buf := make([]byte, loadBytes)
	for n := uint64(1); ; n++ {
		select {
		case <-l.stop:
			return nil
		default:
		}
		slot := int(n*13) % loadSlots
		fillBlock(buf, w, slot, n)
		start := time.Now()
		if err := block.WriteAt(l.dev, buf, place(w, slot), 0); err != nil {
			return err
		}
		l.took(start)
		l.written[w][slot] = n
		start = time.Now()
		if err := l.check(w, int(n*29)%loadSlots); err != nil {
			return err
		}
		l.took(start)
		l.rounds[w].Add(1)
	}
}

func (l *pathLoad) took(start time.Time) {
	d := int64(time.Since(start))
	for old := l.longest.Load(); d > old && !l.longest.CompareAndSwap(old, d); {
		old = l.longest.Load()
	}
}

// check reads a block of worker w.
func (l *pathLoad) check(w, slot int) error {
	if l.written[w][slot] == 0 {
		return nil
	}
	got, want := make([]byte, loadBytes), make([]byte, loadBytes)
	if err := block.ReadAt(l.dev, got, place(w, slot)); err != nil {
		return err
	}
	fillBlock(want, w, slot, l.written[w][slot])
	if !bytes.Equal(got, want) {
		return fmt.Errorf("worker %d, block %d: not what was written last", w, slot)
	}
	return nil
}

func place(w, slot int) int64 { return int64(w*loadSlots+slot) * loadBytes }

func fillBlock(b []byte, w, slot int, gen uint64) {
	for i := range b {
		b[i] = byte(uint64(i)*7 + uint64(w)*31 + uint64(slot)*17 + gen*13 + gen>>8*uint64(i|1))
	}
}

// more waits until the load has gone on for a while.
func (l *pathLoad) more(ctx context.Context) error {
	sum := func() (n int64) {
		for w := range l.rounds {
			n += l.rounds[w].Load()
		}
		return n
	}
	goal := sum() + 500
	return l.await(ctx, func() bool { return sum() >= goal })
}

// all waits until every worker has gone on.
func (l *pathLoad) all(ctx context.Context) error {
	var goal [loadWorkers]int64
	for w := range goal {
		goal[w] = l.rounds[w].Load() + 20
	}
	return l.await(ctx, func() bool {
		for w := range goal {
			if l.rounds[w].Load() < goal[w] {
				return false
			}
		}
		return true
	})
}

func (l *pathLoad) await(ctx context.Context, ok func() bool) error {
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case err := <-l.failed:
			return err
		case <-limit.C:
			return errors.New("the load does not go on")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// end stops the load and verifies all of it.
func (l *pathLoad) end() error {
	close(l.stop)
	l.wg.Wait()
	close(l.failed)
	var errs []error
	for err := range l.failed {
		errs = append(errs, err)
	}
	for w := range loadWorkers {
		for slot := range loadSlots {
			if err := l.check(w, slot); err != nil {
				return errors.Join(append(errs, err)...)
			}
		}
	}
	return errors.Join(errs...)
}
