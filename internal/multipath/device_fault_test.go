package multipath

import (
	"errors"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/lun"
	"sango/internal/target"
)

// faultRig is a rig with a volume that is open on both paths and under load.
func faultRig(t *testing.T, change func(*Config)) (*rig, *Device, *load) {
	t.Helper()
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	c := r.config()
	if change != nil {
		change(&c)
	}
	d := r.open(c)
	bothUp(t, d)
	l := startLoad(t, block.Check(d, t))
	l.more(200)
	return r, d, l
}

// One portal's connections are cut again and again.
func TestCut(t *testing.T) {
	r, d, l := faultRig(t, nil)
	for i := range 6 {
		r.proxies[i%2].Cut()
		l.more(100)
		bothUp(t, d)
		l.more(100)
	}
	l.end()
	if v := d.View(); v.Counters.Fences == 0 && v.Unfenced > 0 {
		t.Errorf("sessions were lost and none was fenced: %s", show(&v))
	}
}

// Both connections are cut at the same moment.
func TestCutBoth(t *testing.T) {
	r, d, l := faultRig(t, nil)
	for range 4 {
		r.proxies[0].Cut()
		r.proxies[1].Cut()
		l.more(100)
		bothUp(t, d)
	}
	l.end()
}

// One portal refuses connections for a while.
func TestRefuse(t *testing.T) {
	r, d, l := faultRig(t, nil)
	r.proxies[0].Refuse()
	l.more(300)
	until(t, d, "one usable path", func(v *View) bool { return usable(v) == 1 })
	if err := r.proxies[0].Accept(); err != nil {
		t.Fatal(err)
	}
	bothUp(t, d)
	l.more(300)
	l.end()
}

// One portal falls silent; what it held back comes later, when the writes in
// it have long been sent again elsewhere.
func TestSilence(t *testing.T) {
	r, d, l := faultRig(t, func(c *Config) { c.PingInterval, c.PingTimeout = 100*time.Millisecond, 500*time.Millisecond })
	for i := range 2 {
		r.proxies[i].Stall()
		l.more(300)
		until(t, d, "one usable path", func(v *View) bool { return usable(v) == 1 })
		l.more(300)
		r.proxies[i].Resume()
		l.more(300)
		bothUp(t, d)
	}
	l.end()
}

// Every path is gone for longer than a session lives, and comes back.
func TestBothGone(t *testing.T) {
	r, d, l := faultRig(t, nil)
	for _, p := range r.proxies {
		p.Refuse()
	}
	until(t, d, "no path", func(v *View) bool { return v.NoPath != nil && v.Waiting > 0 })
	timer := time.NewTimer(2 * time.Second)
	<-timer.C
	for _, p := range r.proxies {
		if err := p.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	l.more(300)
	bothUp(t, d)
	l.end()
}

// I/O that waits for a path longer than it may ends with a clean error.
func TestQueueEnds(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	c := r.config()
	c.Queue = 500 * time.Millisecond
	d := r.open(c)
	for _, p := range r.proxies {
		p.Refuse()
	}
	until(t, d, "no path", func(v *View) bool { return v.NoPath != nil })
	err := block.WriteAt(d, make([]byte, 4096), 0, 0)
	var e *block.Error
	if block.ClassOf(err) != block.Busy || !errors.As(err, &e) {
		t.Errorf("got %v, want an error of class busy", err)
	}
	for _, p := range r.proxies {
		if err := p.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	bothUp(t, d)
	if err := block.WriteAt(d, make([]byte, 4096), 0, 0); err != nil {
		t.Error(err)
	}
}

// Who closes a device after a write has failed learns that it may still be
// executed.
func TestCloseUnfenced(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	c := r.config()
	c.Queue, c.PingTimeout = 300*time.Millisecond, 300*time.Millisecond
	d, err := Open(soon(t), c)
	if err != nil {
		t.Fatal(err)
	}
	bothUp(t, d)
	for _, p := range r.proxies {
		p.Silence()
	}
	if err := block.WriteAt(d, make([]byte, 4096), 0, 0); block.ClassOf(err) != block.Busy {
		t.Errorf("the write ended with %v", err)
	}
	if err := d.Close(); !errors.Is(err, ErrUnfenced) {
		t.Errorf("closed with %v", err)
	}
}

// So does who has abandoned it: a write was under way.
func TestCloseAbandoned(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	c := r.config()
	c.PingTimeout = 300 * time.Millisecond
	d, err := Open(soon(t), c)
	if err != nil {
		t.Fatal(err)
	}
	bothUp(t, d)
	for _, p := range r.proxies {
		p.Silence()
	}
	done := make(chan error, 1)
	d.Submit(&block.Request{Op: block.OpWrite, Len: 4096, Bufs: [][]byte{make([]byte, 4096)}, Done: func(r *block.Request) { done <- r.Err }})
	for d.View().Unfenced == 0 { // it waits for the end of the session that it was lost with
		<-d.Watch()
	}
	d.Abandon()
	if err := <-done; block.ClassOf(err) != block.Closed {
		t.Errorf("the write ended with %v", err)
	}
	if err := d.Close(); !errors.Is(err, ErrUnfenced) {
		t.Errorf("closed with %v", err)
	}
}

// The target is stopped and started again on the same volume.
func TestTargetRestart(t *testing.T) {
	r, d, l := faultRig(t, nil)
	for range 2 {
		r.halt()
		r.serve()
		l.more(300)
		bothUp(t, d)
	}
	l.end()
}

// A path that dawdles is still correct.
func TestDelay(t *testing.T) {
	r, d, l := faultRig(t, nil)
	r.proxies[0].Delay(30 * time.Millisecond)
	l.more(300)
	r.proxies[0].Cut()
	l.more(100)
	r.proxies[0].Delay(0)
	l.more(300)
	bothUp(t, d)
	l.end()
}

// The server drops sessions by itself.
func TestServerDrops(t *testing.T) {
	r, d, l := faultRig(t, nil)
	for range 3 {
		if err := r.server.Drop(soon(t), func(target.SessionInfo) bool { return true }, "test"); err != nil {
			t.Fatal(err)
		}
		l.more(100)
		bothUp(t, d)
	}
	l.end()
}
