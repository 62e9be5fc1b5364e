package multipath

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/initiator"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/san"
	"sango/internal/target"
	"sango/test/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Names that tests use.
const (
	testTarget = "iqn.2026-11.test:disks"
	testHost   = "iqn.2026-11.test:host"
)

// rig is a target of ours with two portals in two port groups, each behind a
// proxy that does to it what networks do. LUN 0 is a volume in memory.
type rig struct {
	t       testing.TB
	dev     *mem.Device
	unit    *lun.Unit
	target  *lun.Target
	proxies []*harness.Proxy
	log     *slog.Logger
	units   map[san.LUN]lun.MapEntry
	groups  []lun.PortGroup

	mu       sync.Mutex // guards the fields below
	server   *target.Server
	served   chan error
	portals  []target.PortalAddr
	direct   []string // the portals without proxies
	accounts []san.CHAP
	// elsewhere is where logins are sent on to while a server drains.
	elsewhere []netip.AddrPort
}

// size of the volume in most tests.
const rigSize = 32 << 20

func testLogger(t testing.TB) *slog.Logger {
	level := slog.LevelError + 4
	if os.Getenv("SANGO_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

// newUnit makes a unit over memory.
func newUnit(t testing.TB, o mem.Options, naa uint64) (*lun.Unit, *mem.Device) {
	t.Helper()
	dev, err := mem.New(o)
	if err != nil {
		t.Fatal(err)
	}
	in := dev.Info()
	v := san.Volume{
		ID: san.NewUUID(), Name: "test", Driver: "mem", Size: in.Size, BlockSize: in.BlockSize, PhysicalBlock: in.PhysicalBlock,
		NAA: naa, ReadOnly: o.ReadOnly,
	}
	u, err := lun.NewUnit(v, dev, &luntest.Store{}, lun.UnitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return u, dev
}

// shrinking is a device that can become smaller, which ours don't.
type shrinking struct {
	block.Device
	size atomic.Int64 // bytes; 0: as large as it is
}

func (s *shrinking) Info() block.Info {
	i := s.Device.Info()
	if n := s.size.Load(); n > 0 {
		i.Size = n
	}
	return i
}

// newRig starts a rig.
func newRig(t testing.TB, o mem.Options, to lun.TargetOptions) *rig {
	t.Helper()
	if o.Size == 0 {
		o.Size = rigSize
	}
	r := &rig{t: t, log: testLogger(t)}
	r.unit, r.dev = newUnit(t, o, 0x0123456789abcde)
	r.target = lun.NewTarget(testTarget, to)
	r.units = map[san.LUN]lun.MapEntry{0: {Unit: r.unit}}
	r.target.SetMap(r.units)
	r.setGroups([]lun.PortGroup{
		{ID: 1, State: lun.ActiveOptimized, Ports: []san.TPG{1}},
		{ID: 2, State: lun.ActiveOptimized, Ports: []san.TPG{2}},
	})
	for range 2 {
		p, err := harness.NewProxy("127.0.0.1:1") // until serve
		if err != nil {
			t.Fatal(err)
		}
		r.proxies = append(r.proxies, p)
		r.portals = append(r.portals, target.PortalAddr{Addr: p.Addr(), TPG: san.TPG(len(r.proxies))})
	}
	r.serve()
	t.Cleanup(func() {
		for _, p := range r.proxies {
			p.Close()
		}
		r.halt()
		r.target.SetMap(nil)
		for _, e := range r.units {
			if err := e.Unit.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return r
}

// setGroups sets the target port groups.
func (r *rig) setGroups(g []lun.PortGroup) {
	r.groups = g
	for _, e := range r.units {
		e.Unit.SetPortGroups(g)
		e.Unit.AccessChanged(nil)
	}
}

// remap maps r.units.
func (r *rig) remap() {
	for _, e := range r.units {
		e.Unit.SetPortGroups(r.groups)
	}
	r.target.SetMap(r.units)
}

// serve starts the server.
func (r *rig) serve() {
	r.t.Helper()
	s, err := target.New(target.Config{NopTimeout: 20 * time.Second, MaxAge: 20 * time.Second, Logger: r.log}, r)
	if err != nil {
		r.t.Fatal(err)
	}
	r.server, r.served, r.direct = s, make(chan error, len(r.proxies)), nil
	for i, p := range r.proxies {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			r.t.Fatal(err)
		}
		p.Retarget(l.Addr().String())
		r.direct = append(r.direct, l.Addr().String())
		go func() { r.served <- s.Serve(l, san.TPG(i+1)) }()
	}
}

// halt stops the server.
func (r *rig) halt() {
	if err := r.server.Close(); err != nil {
		r.t.Error(err)
	}
	for range r.proxies {
		if err := <-r.served; err != nil {
			r.t.Error(err)
		}
	}
}

// Visible implements target.Directory.
func (r *rig) Visible(string, netip.Addr) []string { return []string{testTarget} }

// Portals implements target.Directory.
func (r *rig) Portals(string) []target.PortalAddr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.portals
}

// Elsewhere implements target.Redirector.
func (r *rig) Elsewhere(string) []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.elsewhere
}

// Discovery implements target.Directory.
func (r *rig) Discovery(string, netip.Addr) ([]san.CHAP, error) { return nil, nil }

// Login implements target.Directory.
func (r *rig) Login(_ string, _ netip.Addr, name string) (target.Grant, error) {
	if name != testTarget {
		return target.Grant{}, target.ErrNotFound
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return target.Grant{Target: r.target, Host: "host", Accounts: r.accounts}, nil
}

// config is a Config for the portals of the rig, with short times.
func (r *rig) config() Config {
	c := Config{
		Initiator: testHost, Logger: r.log, PingInterval: 300 * time.Millisecond, PingTimeout: 2 * time.Second,
		Queue: time.Minute, Quiesce: 2 * time.Second, Failback: 100 * time.Millisecond, Check: 300 * time.Millisecond,
	}
	for _, p := range r.proxies {
		c.URLs = append(c.URLs, initiator.URL{Host: p.Addr(), Target: testTarget})
	}
	return c
}

// open opens the volume of the rig; it is closed at the end of the test.
func (r *rig) open(c Config) *Device {
	r.t.Helper()
	d, err := Open(soon(r.t), c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			r.t.Errorf("close: %v", err)
		}
	})
	return d
}

// soon returns a context that ends long after anything a test waits for.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// until waits until the view of d satisfies ok.
func until(t testing.TB, d *Device, what string, ok func(*View) bool) {
	t.Helper()
	ctx := soon(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		v := d.View()
		if ok(&v) {
			return
		}
		select {
		case <-d.Watch():
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: does not come; the view is %s", what, show(&v))
		}
	}
}

func show(v *View) string {
	s := fmt.Sprintf("size %d, serving %v, waiting %d, unfenced %d", v.Size, v.Serving, v.Waiting, v.Unfenced)
	for _, p := range v.Paths {
		s += fmt.Sprintf("\n  %s %v usable=%v active=%v %s in flight %d, %d commands, %d losses: %s", p.Portal, p.State, p.Usable, p.Active, p.ALUA, p.InFlight, p.Commands, p.Losses, p.Error)
	}
	return s
}

// usable returns how many paths may carry requests.
func usable(v *View) (n int) {
	for _, p := range v.Paths {
		if p.Usable {
			n++
		}
	}
	return n
}

// bothUp waits until two paths are usable.
func bothUp(t testing.TB, d *Device) {
	t.Helper()
	until(t, d, "two usable paths", func(v *View) bool { return usable(v) == 2 })
}

// load writes and reads blocks of its own all the time and verifies them.
type load struct {
	t     testing.TB
	d     block.Device
	stop  chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex // guards the fields below
	done  int
	moved chan struct{} // closed when done has grown, and made anew
}

const (
	loadWorkers = 8
	loadBlock   = 4096
	loadSlots   = 32 // blocks of a worker
)

// startLoad starts a load.
func startLoad(t testing.TB, d block.Device) *load {
	l := &load{t: t, d: d, stop: make(chan struct{}), moved: make(chan struct{})}
	for w := range loadWorkers {
		l.wg.Go(func() { l.work(w) })
	}
	return l
}

// work writes generation after generation to the worker's blocks, and reads
// each back at random moments.
func (l *load) work(w int) {
	var gen [loadSlots]uint64
	buf, got, want := make([]byte, loadBlock), make([]byte, loadBlock), make([]byte, loadBlock)
	fill := func(b []byte, slot int, g uint64) {
		for i := 0; i < len(b); i += 8 {
			v := g<<24 | uint64(w)<<16 | uint64(slot)<<8 | uint64(i/8&0xff)
			for k := range 8 {
				b[i+k] = byte(v >> (8 * k))
			}
		}
	}
	for n := uint64(1); ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		slot := int(n*7) % loadSlots
		off := int64(w*loadSlots+slot) * loadBlock
		flags := block.Flags(0)
		if n%5 == 0 {
			flags = block.FUA
		}
		gen[slot] = n
		fill(buf, slot, n)
		if err := block.WriteAt(l.d, buf, off, flags); err != nil {
			l.t.Errorf("write: %v", err)
			return
		}
		slot = int(n*11) % loadSlots
		off = int64(w*loadSlots+slot) * loadBlock
		if err := block.ReadAt(l.d, got, off); err != nil {
			l.t.Errorf("read: %v", err)
			return
		}
		clear(want)
		if gen[slot] > 0 {
			fill(want, slot, gen[slot])
		}
		if !bytes.Equal(got, want) {
			l.t.Errorf("worker %d, block %d: not what was written last (generation %d)", w, slot, gen[slot])
			return
		}
		l.mu.Lock()
		l.done++
		close(l.moved)
		l.moved = make(chan struct{})
		l.mu.Unlock()
	}
}

// more waits until n more rounds are done.
func (l *load) more(n int) {
	l.t.Helper()
	ctx := soon(l.t)
	l.mu.Lock()
	goal := l.done + n
	l.mu.Unlock()
	for {
		l.mu.Lock()
		done, moved := l.done, l.moved
		l.mu.Unlock()
		if done >= goal {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			l.t.Fatalf("the load does not go on: %d rounds done, %d wanted", done, goal)
		}
	}
}

// end stops the load.
func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
}

// contextOf returns a context that ends after d.
func contextOf(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
