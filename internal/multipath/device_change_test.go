package multipath

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/initiator"
	"sango/internal/iscsi"
	"sango/internal/lun"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
	"sango/internal/target"
)

// groupsOf are two port groups of one portal each.
func groupsOf(a, b lun.AccessState) []lun.PortGroup {
	return []lun.PortGroup{{ID: 1, State: a, Ports: []san.TPG{1}}, {ID: 2, State: b, Ports: []san.TPG{2}}}
}

// active returns the groups that requests go to.
func active(v *View) (ids []uint16) {
	for _, g := range v.Groups {
		if g.Active {
			ids = append(ids, g.ID)
		}
	}
	return ids
}

// Requests follow the states of the port groups.
func TestPortGroups(t *testing.T) {
	r, d, l := faultRig(t, nil)
	for _, s := range []struct {
		a, b lun.AccessState
		want uint16
	}{
		{lun.ActiveOptimized, lun.ActiveNonOptimized, 1},
		{lun.ActiveNonOptimized, lun.ActiveOptimized, 2},
		{lun.ActiveOptimized, lun.Standby, 1},
		{lun.Unavailable, lun.ActiveOptimized, 2},
		{lun.ActiveNonOptimized, lun.Standby, 1},
		{lun.Standby, lun.ActiveNonOptimized, 2},
		{lun.Transitioning, lun.Transitioning, 0},
		{lun.ActiveOptimized, lun.Unavailable, 1},
	} {
		r.setGroups(groupsOf(s.a, s.b))
		if s.want == 0 {
			until(t, d, "requests that wait", func(v *View) bool { return v.Waiting > 0 })
			continue
		}
		until(t, d, "the active group", func(v *View) bool { ids := active(v); return len(ids) == 1 && ids[0] == s.want })
		l.more(100)
	}
	l.end()
}

// SET TARGET PORT GROUPS makes another group the optimized one.
func TestOptimize(t *testing.T) {
	var r *rig
	r = newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{SetGroups: func(_ *lun.Nexus, _ *lun.Unit, changes []alua.Change) error {
		g := groupsOf(lun.ActiveNonOptimized, lun.ActiveNonOptimized)
		for _, c := range changes {
			g[c.ID-1].State = c.State
		}
		r.setGroups(g)
		return nil
	}})
	d := r.open(r.config())
	bothUp(t, d)
	for _, id := range []uint16{2, 1} {
		if err := d.Optimize(soon(t), id); err != nil {
			t.Fatal(err)
		}
		until(t, d, "the active group", func(v *View) bool { ids := active(v); return len(ids) == 1 && ids[0] == id })
	}
	if err := d.Optimize(soon(t), 77); !errors.Is(err, san.ErrNotFound) {
		t.Errorf("a group that does not exist: %v", err)
	}
}

// A target without explicit ALUA refuses SET TARGET PORT GROUPS.
func TestOptimizeRefused(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	d := r.open(r.config())
	if err := d.Optimize(soon(t), 1); !errors.Is(err, san.ErrRefused) {
		t.Errorf("a target without explicit ALUA is told its groups: %v", err)
	}
}

// A larger volume is seen, and told.
func TestResize(t *testing.T) {
	sizes := make(chan int64, 16)
	r, d, l := faultRig(t, func(c *Config) { c.Resized = func(n int64) { sizes <- n } })
	const size = 2 * rigSize
	if err := r.dev.Resize(size); err != nil {
		t.Fatal(err)
	}
	r.unit.Resized()
	select {
	case n := <-sizes:
		if n != size || d.Info().Size != size {
			t.Errorf("told %d, Info %d, want %d", n, d.Info().Size, size)
		}
	case <-soon(t).Done():
		t.Fatal("nobody told of the new size")
	}
	if err := block.WriteAt(d, make([]byte, 4096), size-4096, 0); err != nil {
		t.Error(err)
	}
	l.more(100)
	l.end()
}

// A path whose volume is another one is refused, and says so.
func TestIdentityMismatch(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	u, _ := newUnit(t, mem.Options{Size: rigSize, BlockSize: 512}, 0x0fedcba98765432)
	r.units[1] = lun.MapEntry{Unit: u}
	r.remap()
	c := r.config()
	c.URLs[1].LUN = 1
	d := r.open(c)
	until(t, d, "a refused path", func(v *View) bool {
		return len(v.Paths) == 2 && usable(v) == 1 && (v.Paths[0].State == PathWrongIdentity || v.Paths[1].State == PathWrongIdentity)
	})
	v := d.View()
	for _, p := range v.Paths {
		if p.State == PathWrongIdentity && !strings.Contains(p.Error, "check the target and LUN") {
			t.Errorf("the refused path says %q", p.Error)
		}
	}
	if v.Counters.PathsRefuse != 1 {
		t.Errorf("%d paths are refused", v.Counters.PathsRefuse)
	}
	if err := block.WriteAt(d, make([]byte, 4096), 0, 0); err != nil {
		t.Error(err)
	}
}

// A read-only volume is known to be one.
func TestReadOnly(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 4096, ReadOnly: true}, lun.TargetOptions{})
	d := block.Check(r.open(r.config()), t)
	if !d.Info().Caps.ReadOnly {
		t.Error("the volume does not look read-only")
	}
	if err := block.WriteAt(d, make([]byte, 4096), 0, 0); block.ClassOf(err) != block.ReadOnly {
		t.Errorf("a write ended with %v", err)
	}
	if err := block.ReadAt(d, make([]byte, 4096), 0); err != nil {
		t.Error(err)
	}
}

// A reservation of another host is an error that is not tried again.
func TestReservationConflict(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	d := r.open(r.config())
	bothUp(t, d)
	other, err := initiator.Login(soon(t), initiator.Config{
		Initiator: san.InitiatorPort{Name: testHost + "2", ISID: initiator.NewISID()}, Target: testTarget, Portal: r.proxies[0].Addr(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Logout(soon(t)); err != nil {
			t.Error(err)
		}
	}()
	a := &asker{s: other}
	if _, err := a.in(soon(t), scsi.CDB{0: byte(scsi.OpReserve6)}, 0); err != nil {
		t.Fatal(err)
	}
	if err := block.WriteAt(d, make([]byte, 512), 0, 0); block.ClassOf(err) != block.Fenced {
		t.Errorf("a write ended with %v, want class fenced", err)
	}
	if _, err := a.in(soon(t), scsi.CDB{0: byte(scsi.OpRelease6)}, 0); err != nil {
		t.Fatal(err)
	}
	if err := block.WriteAt(d, make([]byte, 512), 0, 0); err != nil {
		t.Error(err)
	}
}

// SendTargets brings the other portal, also one that comes while the device
// runs; one that is named no more and has no session goes.
func TestDiscovery(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	all := r.portals
	r.mu.Lock()
	r.portals = all[:1]
	r.mu.Unlock()
	c := r.config()
	c.URLs, c.Discover, c.Rediscover = c.URLs[:1], true, 200*time.Millisecond
	d := r.open(c)
	l := startLoad(t, d)
	l.more(100)
	if v := d.View(); len(v.Paths) != 1 {
		t.Errorf("%d paths, want one: %s", len(v.Paths), show(&v))
	}
	set := func(p []target.PortalAddr) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.portals = p
	}
	set(all)
	bothUp(t, d)
	set(all[:1])
	r.proxies[1].Refuse()
	until(t, d, "one path", func(v *View) bool { return len(v.Paths) == 1 })
	set(all)
	if err := r.proxies[1].Accept(); err != nil {
		t.Fatal(err)
	}
	bothUp(t, d)
	l.more(100)
	l.end()
}

// A target that can't prove itself never will.
func TestOpenOfUnprovedTarget(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	r.mu.Lock()
	r.accounts = []san.CHAP{{User: "host", Secret: "twelve bytes", MutualUser: "disks", MutualSecret: "another twelve"}}
	r.mu.Unlock()
	c := r.config()
	for i := range c.URLs {
		c.URLs[i].User, c.URLs[i].Secret = "host", "twelve bytes"
	}
	c.MutualUser, c.MutualSecret = "disks", "not the same one"
	ctx := soon(t)
	if _, err := Open(ctx, c); !errors.Is(err, iscsi.ErrAuth) || !errors.Is(err, ErrHopeless) || ctx.Err() != nil {
		t.Errorf("the target has another secret: %v", err)
	}
	c.MutualSecret = "another twelve"
	bothUp(t, r.open(c))
}

// Opening fails with a reason where nothing helps, and where time is over.
func TestOpenFails(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	c := r.config()
	for i := range c.URLs {
		c.URLs[i].Target = "iqn.2026-11.test:none"
	}
	var refused *iscsi.LoginError
	if _, err := Open(soon(t), c); !errors.As(err, &refused) || refused.Status != iscsi.LoginNotFound || !strings.Contains(err.Error(), "0203") {
		t.Errorf("a target that does not exist: %v", err)
	}
	c = r.config()
	for i := range c.URLs {
		c.URLs[i].LUN = 9
	}
	ctx := soon(t)
	if _, err := Open(ctx, c); !errors.Is(err, ErrNoLUN) || !errors.Is(err, ErrHopeless) || ctx.Err() != nil ||
		!strings.Contains(err.Error(), "no path to LUN 9") || strings.Contains(err.Error(), "25") && strings.Contains(err.Error(), "/00") {
		t.Errorf("a LUN that does not exist: %v", err)
	}
	c = r.config()
	for i := range c.URLs {
		c.URLs[i].LUN = 9
	}
	c.TakeOver, c.Group, c.Run = true, 1, 2
	ctx, cancel := contextOf(t, time.Second)
	defer cancel()
	if _, err := Open(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a LUN that is taken over and does not exist: %v", err)
	}
	for _, c := range []Config{{}, {URLs: r.config().URLs}, {Initiator: testHost, URLs: []initiator.URL{{}}}, {Initiator: testHost, URLs: r.config().URLs, TakeOver: true}} {
		if _, err := Open(soon(t), c); err == nil {
			t.Errorf("%+v was opened", c)
		}
	}
}

// A process that takes over fences the one before it, and goes on.
func TestTakeOver(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	c := r.config()
	c.Group, c.Run = 42, 1
	old, err := Open(soon(t), c)
	if err != nil {
		t.Fatal(err)
	}
	bothUp(t, old)
	if err := block.WriteAt(old, make([]byte, 4096), 0, 0); err != nil {
		t.Fatal(err)
	}
	// The old one is held back on the way, so that its sessions stay.
	c.Run, c.TakeOver = 2, true
	old.Abandon()
	d := r.open(c)
	bothUp(t, d)
	if v := d.View(); v.Counters.Fences == 0 {
		t.Errorf("nothing was fenced: %s", show(&v))
	}
	if err := block.WriteAt(d, make([]byte, 4096), 0, 0); err != nil {
		t.Error(err)
	}
	if err := block.ReadAt(old, make([]byte, 512), 0); block.ClassOf(err) != block.Closed {
		t.Errorf("a read of an abandoned device ended with %v", err)
	}
}
