package lun

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/bufpool"
	"sango/internal/san"
)

// gang is a volume that several gateways serve in turns. It has no cluster
// above it: the test says who owns the volume.
type gang struct {
	t     testing.TB
	store *memStore
	disc  *disc
	gates []*gate

	owner int // index of the gateway that serves; -1: none
	epoch san.Epoch
	// busy: hosts come and go while the volume moves. What goes to the owner does
	// so from goroutines of its own then: two gateways may relay to each other for
	// a moment.
	busy bool
	lazy bool // busy, and the answers of relays come later too
	cuts bool // some moves are cuts
	wg   sync.WaitGroup
	stop chan struct{}
}

// gate is one gateway of a gang.
type gate struct {
	g      *gang
	unit   *Unit
	target *Target
	slot   *slot
}

// disc is the device that all gateways share.
type disc struct {
	block.Device
	open atomic.Int64 // epoch under which it is open; 0: not
	t    testing.TB
}

var errLate = errors.New("a gateway touches the volume outside of its ownership")

// slot is the disc as one gateway has it.
type slot struct {
	*disc
	epoch atomic.Int64
}

func (s *slot) Submit(r *block.Request) {
	if e := s.epoch.Load(); e == 0 || e != s.open.Load() || int64(r.Epoch) != e {
		s.t.Errorf("%v at %d under epoch %d, open under %d, owned under %d", r.Op, r.Off, r.Epoch, e, s.open.Load())
		r.End(block.Fail(r, block.Fenced, errLate))
		return
	}
	s.disc.Device.Submit(r)
}

func (s *slot) Close() error { return nil }

func newGang(t testing.TB, n int, change func(*UnitOptions)) *gang {
	t.Helper()
	return newGangOf(t, n, testVolume(), change)
}

func newGangOf(t testing.TB, n int, v san.Volume, change func(*UnitOptions)) *gang {
	t.Helper()
	dev, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock})
	if err != nil {
		t.Fatal(err)
	}
	g := &gang{t: t, store: newStore(), disc: &disc{Device: dev, t: t}, owner: -1, stop: make(chan struct{})}
	for range n {
		o := UnitOptions{Shared: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
		if change != nil {
			change(&o)
		}
		x := &gate{g: g, slot: &slot{disc: g.disc}}
		if x.unit, err = NewUnit(v, x.slot, g.store, o); err != nil {
			t.Fatal(err)
		}
		x.unit.guard.waiters.most = shortly
		x.target = oneUnit(x.unit)
		g.gates = append(g.gates, x)
	}
	t.Cleanup(func() {
		for _, x := range g.gates {
			if err := x.unit.Close(); err != nil {
				t.Error(err)
			}
		}
		close(g.stop)
		g.wg.Wait()
	})
	return g
}

// name is that of nexus n of gateway at: each has a portal of its own.
func (g *gang) name(at, n int) san.NexusID {
	id := nexusName(n)
	id.Target.TPG = san.TPG(1 + at)
	return id
}

func (g *gang) attach(at, n int) *wire {
	g.t.Helper()
	return attach(g.t, g.gates[at].target, g.name(at, n), "")
}

// serve makes gateway at the owner, where nobody is.
func (g *gang) serve(at int) {
	g.t.Helper()
	g.epoch++
	g.open(at)
	g.relays()
}

func (g *gang) open(at int) {
	g.t.Helper()
	g.owner = at
	x := g.gates[at]
	g.disc.open.Store(int64(g.epoch))
	x.slot.epoch.Store(int64(g.epoch))
	if err := x.unit.Serve(g.epoch); err != nil {
		g.t.Error(err)
	}
}

// relays makes all but the owner relay to it.
func (g *gang) relays() {
	for i := range g.gates {
		if i != g.owner {
			g.relay(i)
		}
	}
}

func (g *gang) relay(from int) {
	r := newMemRelay(g.epoch, g.gates[g.owner].unit)
	if g.busy || g.lazy {
		r.there = newCourier(g)
	}
	if g.lazy {
		r.back = newCourier(g)
	}
	g.gates[from].unit.RelayTo(g.epoch, r)
}

// giveUp makes the owner give the volume up, and returns when it has.
func (g *gang) giveUp() {
	g.t.Helper()
	x := g.gates[g.owner]
	drained := make(chan struct{})
	x.unit.Hold(func() { close(drained) })
	<-drained
	x.unit.Release()
	x.slot.epoch.Store(0)
	g.disc.open.Store(0)
	g.owner = -1
}

// cut takes the volume away from its owner, as from one that is declared dead:
// without a time in which commands wait.
func (g *gang) cut() {
	x := g.gates[g.owner]
	x.unit.Cancel()
	x.unit.Release()
	x.slot.epoch.Store(0)
	g.disc.open.Store(0)
	g.owner = -1
}

// move moves the volume to gateway at. Even moves are seen by the other
// gateways before the new owner serves, odd ones after.
func (g *gang) move(at int) {
	g.t.Helper()
	for i, x := range g.gates {
		if i != g.owner && (int(g.epoch)+i)%3 == 0 { // some see in time that it moves
			x.unit.Hold(func() {})
		}
	}
	if g.epoch%4 == 3 && g.cuts {
		g.cut()
	} else {
		g.giveUp()
	}
	g.epoch++
	g.owner = at
	if g.epoch%2 == 0 {
		g.relays()
		g.open(at)
	} else {
		g.open(at)
		g.relays()
	}
}

// courier does things in order, later.
type courier struct {
	mu   sync.Mutex
	wake chan struct{}
	list []func()
}

func newCourier(g *gang) *courier {
	c := &courier{wake: make(chan struct{}, 1)}
	g.wg.Go(func() {
		for {
			select {
			case <-g.stop:
				return
			case <-c.wake:
			}
			c.mu.Lock()
			list := c.list
			c.list = nil
			c.mu.Unlock()
			for _, f := range list {
				f()
			}
		}
	})
	return c
}

// do does f: now where c is nil.
func (c *courier) do(f func()) {
	if c == nil {
		f()
		return
	}
	c.mu.Lock()
	c.list = append(c.list, f)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// fill puts b into pooled buffers.
func fill(l *bufpool.List, data [][]byte) {
	for _, v := range data {
		for len(v) > 0 {
			b := bufpool.Get(min(len(v), bufpool.MaxPooled))
			v = v[copy(b.B, v):]
			l.Append(b)
		}
	}
}
