package multipath

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/initiator"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/san"
	"sango/internal/scsi"
)

// other is a session of another host to the first portal.
func (r *rig) other() *asker {
	r.t.Helper()
	s, err := initiator.Login(soon(r.t), initiator.Config{
		Initiator: san.InitiatorPort{Name: testHost + "2", ISID: initiator.NewISID()}, Target: testTarget, Portal: r.proxies[0].Addr(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { s.Abort(initiator.ErrClosed) })
	return &asker{s: s}
}

// backed is a volume with a write cache, which counts what it is asked.
type backed struct {
	block.Device
	flushes, fuas atomic.Int64
}

func (b *backed) Info() block.Info {
	i := b.Device.Info()
	i.Caps.WriteBack = true
	return i
}

func (b *backed) Submit(r *block.Request) {
	if r.Op == block.OpFlush {
		b.flushes.Add(1)
	}
	if r.Flags&block.FUA != 0 {
		b.fuas.Add(1)
	}
	b.Device.Submit(r)
}

// cached is a rig whose LUN 0 has a write cache.
func cached(t *testing.T) (*rig, *backed) {
	t.Helper()
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	m, err := mem.New(mem.Options{Size: rigSize, BlockSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	b := &backed{Device: m}
	v := san.Volume{ID: san.NewUUID(), Name: "cached", Driver: "mem", Size: rigSize, BlockSize: 512, PhysicalBlock: 512, NAA: 0x7777}
	u, err := lun.NewUnit(v, b, &luntest.Store{}, lun.UnitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	old := r.unit
	r.units[0] = lun.MapEntry{Unit: u}
	r.remap()
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	return r, b
}

// A flush, and FUA by whatever means, reach the store; so does the last flush
// of Close.
func TestFlushes(t *testing.T) {
	r, b := cached(t)
	d, err := Open(soon(t), r.config())
	if err != nil {
		t.Fatal(err)
	}
	if !d.Info().Caps.WriteBack || d.Info().Caps.FUA != block.Native {
		t.Fatalf("%+v", d.Info())
	}
	step := func(what string, flushes, fuas int64, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if f, u := b.flushes.Swap(0), b.fuas.Swap(0); f != flushes || u != fuas {
			t.Errorf("%s: %d flushes and %d FUAs, want %d and %d", what, f, u, flushes, fuas)
		}
	}
	p := make([]byte, 4096)
	step("write", 0, 0, block.WriteAt(d, p, 0, 0))
	step("flush", 1, 0, block.Flush(d))
	step("write with FUA", 0, 1, block.WriteAt(d, p, 0, block.FUA))
	step("discard with FUA", 1, 0, block.Do(d, block.OpDiscard, block.FUA, 0, 4096))
	step("zeroes with FUA", 1, 0, block.Do(d, block.OpWriteZeroes, block.FUA, 0, 4096))
	s := *d.shape.Load()
	s.fua, s.maxTransfer = false, 1024 // a target without DPOFUA; several commands
	if err := d.setShape(&s, d.shapes.Load()); err != nil {
		t.Fatal(err)
	}
	step("write with FUA emulated", 1, 0, block.WriteAt(d, p, 0, block.FUA))
	step("long write", 0, 0, block.WriteAt(d, make([]byte, 1<<20), 0, 0))
	step("close", 1, 0, d.Close())
}

// What another host does to the mode pages is followed: write cache and write
// protection.
func TestModePages(t *testing.T) {
	r, b := cached(t)
	d := r.open(r.config())
	bothUp(t, d)
	a := r.other()
	flip := func(page uint8, at int, bit byte) {
		t.Helper()
		b, err := a.in(soon(t), cdbModeSense(false, page), 255)
		if err != nil {
			t.Fatal(err)
		}
		l, cc := scsi.ParseModeList(b, false)
		if cc != nil || len(l.Pages) != 1 {
			t.Fatalf("mode page %02xh: %v", page, cc)
		}
		p := l.Pages[0].ModePage
		p.Params[at] ^= bit
		p.Saved = false
		list, _ := scsi.AppendModeData(nil, &scsi.ModeHeader{}, []scsi.ModePage{p})
		list[0] = 0
		if err := a.out(soon(t), scsi.CDB{0: byte(scsi.OpModeSelect6), 1: 0x10, 4: byte(len(list))}, list); err != nil {
			t.Fatal(err)
		}
	}
	const wce, swp = 0x04, 0x08
	flip(scsi.ModeCaching, 0, wce)
	until(t, d, "the write cache off", func(*View) bool { return !d.Info().Caps.WriteBack })
	// Those above may have been told that there is no cache, and will not flush.
	if err := block.WriteAt(d, make([]byte, 512), 0, 0); err != nil {
		t.Error(err)
	}
	b.flushes.Store(0)
	flip(scsi.ModeCaching, 0, wce)
	until(t, d, "the write cache on again, flushed", func(*View) bool { return d.shape.Load().writeBack && b.flushes.Load() > 0 })
	if d.Info().Caps.WriteBack {
		t.Error("a write cache that nobody above flushes is told of")
	}
	b.fuas.Store(0)
	if err := block.WriteAt(d, make([]byte, 512), 0, 0); err != nil || b.fuas.Load() != 1 {
		t.Errorf("%v; %d writes went past the cache", err, b.fuas.Load())
	}
	flip(scsi.ModeControl, 2, swp)
	until(t, d, "write protection", func(v *View) bool { return v.ReadOnly && d.Info().Caps.ReadOnly })
	if err := block.WriteAt(d, make([]byte, 512), 0, 0); block.ClassOf(err) != block.ReadOnly {
		t.Errorf("a write ended with %v", err)
	}
}

// A device opens over paths that do not serve yet, when they do.
func TestOpenStandby(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	r.setGroups(groupsOf(lun.Standby, lun.Transitioning))
	type result struct {
		d   *Device
		err error
	}
	c := make(chan result, 1)
	go func() {
		d, err := Open(soon(t), r.config())
		c <- result{d, err}
	}()
	timer := time.NewTimer(700 * time.Millisecond)
	defer timer.Stop()
	select {
	case x := <-c:
		t.Fatalf("opened without a path that serves: %v", x.err)
	case <-timer.C:
	}
	r.setGroups(groupsOf(lun.ActiveNonOptimized, lun.Standby))
	x := <-c
	if x.err != nil {
		t.Fatal(x.err)
	}
	if n := x.d.Info().Size; n != rigSize {
		t.Errorf("the volume has %d bytes", n)
	}
	if err := block.WriteAt(x.d, make([]byte, 512), 0, 0); err != nil {
		t.Error(err)
	}
	if err := x.d.Close(); err != nil {
		t.Error(err)
	}
}

// Requests that wait for a path end when the device is abandoned, and so does
// a Close that waits for them.
func TestAbandon(t *testing.T) {
	r, d, l := faultRig(t, func(c *Config) { c.Queue = -1 })
	l.end()
	for _, p := range r.proxies {
		p.Refuse()
	}
	done := make(chan error, 2)
	for range 2 {
		q := &block.Request{Op: block.OpWrite, Len: 512, Bufs: [][]byte{make([]byte, 512)}, Done: func(q *block.Request) { done <- q.Err }}
		d.Submit(q)
	}
	until(t, d, "requests that wait", func(v *View) bool { return v.Waiting == 2 || v.Requests == 2 && v.NoPath != nil })
	closed := make(chan error, 1)
	go func() { closed <- d.Close() }()
	d.Abandon()
	for range 2 {
		if err := <-done; block.ClassOf(err) != block.Closed {
			t.Errorf("a write ended with %v", err)
		}
	}
	if err := <-closed; err != nil && block.ClassOf(err) != block.Closed {
		t.Errorf("close: %v", err) // that the last flush was not possible is no fault
	}
}

// View is JSON that holds what a person wants to know.
func TestView(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	d := r.open(r.config())
	bothUp(t, d)
	if err := block.WriteAt(d, make([]byte, 512), 0, 0); err != nil {
		t.Fatal(err)
	}
	v := d.View()
	if len(v.Groups) != 2 || len(v.Paths) != 2 || !v.Fence || !v.Serving || v.Size != rigSize || v.BlockSize != 512 || v.NoPath != nil {
		t.Errorf("%+v", v)
	}
	for i, p := range v.Paths {
		if p.Portal != r.proxies[i].Addr() || p.Tag != uint16(i+1) || p.RelPort != uint16(i+1) || p.Group != uint16(i+1) || p.State != PathUp || !p.Fence || p.Instance == "" {
			t.Errorf("path %d: %+v", i, p)
		}
	}
	if v.Paths[0].Instance == v.Paths[1].Instance {
		t.Error("two sessions have one name")
	}
	if id := d.Identity(); id.Vendor != "SANGO" || id.Serial == "" || len(id.Designators) == 0 {
		t.Errorf("%+v", id)
	}
	if l := d.Limits(); l.MaxTransfer != 32<<20 || l.MaxDiscard == 0 || l.MaxWriteZeroes == 0 {
		t.Errorf("%+v", l)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{`"policy":"service-time"`, `"state":"up"`, `"alua":"active/optimized"`, `"portal":"127.0.0.1:`} {
		if !strings.Contains(string(b), s) {
			t.Errorf("no %s in %s", s, b)
		}
	}
}

// A volume that shrinks is followed; what lies past its end is refused.
func TestShrink(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	dev := &shrinking{Device: r.dev}
	v := r.unit.Volume()
	small, err := lun.NewUnit(v, dev, &luntest.Store{}, lun.UnitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.units[0], r.units[1] = lun.MapEntry{Unit: small}, r.units[0]
	r.target.SetMap(r.units)
	small.SetPortGroups([]lun.PortGroup{
		{ID: 1, State: lun.ActiveOptimized, Ports: []san.TPG{1}},
		{ID: 2, State: lun.ActiveOptimized, Ports: []san.TPG{2}},
	})
	sizes := make(chan int64, 4)
	c := r.config()
	c.Resized = func(n int64) { sizes <- n }
	d := r.open(c)
	bothUp(t, d)
	dev.size.Store(rigSize / 2)
	small.Resized()
	if n := <-sizes; n != rigSize/2 || d.Info().Size != n {
		t.Errorf("told %d", n)
	}
	if err := block.WriteAt(d, make([]byte, 512), rigSize/2, 0); block.ClassOf(err) != block.Invalid {
		t.Errorf("a write past the end ended with %v", err)
	}
	other := *d.shape.Load()
	other.block = 4096
	if err := d.setShape(&other, d.shapes.Load()); err == nil {
		t.Error("the block size changed under a device in use")
	}
}

// Of two answers that were asked for at the same time nobody knows which is the
// older one: the volume is looked at again, whichever comes last.
func TestAnswersThatOvertake(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	d := r.open(r.config())
	bothUp(t, d)
	stale := *d.shape.Load()
	since := d.shapes.Load() // two questions, one after the other; the second one is answered before the resize
	fresh := stale
	fresh.size *= 2
	if err := r.dev.Resize(fresh.size); err != nil {
		t.Fatal(err)
	}
	if err := d.setShape(&fresh, since); err != nil {
		t.Fatal(err)
	}
	if err := d.setShape(&stale, since); err != nil {
		t.Fatal(err)
	}
	if got := d.Info().Size; got != fresh.size {
		t.Errorf("an answer of before made the size %d, which is %d", got, fresh.size)
	}
	// The other way round the second answer is the right one.
	since = d.shapes.Load()
	if err := d.setShape(&stale, since); err != nil {
		t.Fatal(err)
	}
	if err := d.setShape(&fresh, since); err != nil {
		t.Fatal(err)
	}
	until(t, d, "the size of now", func(v *View) bool { return v.Size == fresh.size })
}
