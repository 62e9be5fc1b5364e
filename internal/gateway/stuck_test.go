package gateway

import (
	"context"
	"testing"
	"time"

	"sango/internal/api"
	"sango/internal/block"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// stuck is a device over a store that takes no writes until the test says so.
type stuck struct {
	block.Device
	until, arrived chan struct{}
}

func newStuck(t *testing.T, d block.Device) *stuck {
	s := &stuck{d, make(chan struct{}), make(chan struct{}, 8)}
	t.Cleanup(s.release)
	return s
}

func (s *stuck) release() {
	select {
	case <-s.until:
	default:
		close(s.until)
	}
}

func (s *stuck) Submit(r *block.Request) {
	switch {
	case r.Op == block.OpRead:
		s.Device.Submit(r)
	case r.Flags&block.NoWait != 0:
		r.End(block.ErrWouldBlock)
	default:
		s.arrived <- struct{}{}
		go func() {
			<-s.until
			s.Device.Submit(r)
		}()
	}
}

// write sends a write to LUN 0, which does not end, and returns when it is at the
// store; finish takes its answer.
func (s *stuck) write(t *testing.T, c *iscsitest.Conn) (finish func()) {
	t.Helper()
	k := iscsitest.Write16(lunField(0), 0, make([]byte, 512), 512)
	itt, err := c.SendCommand(k)
	if err != nil {
		t.Fatal(err)
	}
	<-s.arrived
	return func() {
		t.Helper()
		if r, err := c.Finish(k, itt); err != nil || r.Status != 0 {
			t.Errorf("the write that was under way: %+v, %v", r, err)
		}
	}
}

// committed commits fn, waits until it is applied by a gateway, and returns its
// revision: what it took away may have tasks left.
func committed(t *testing.T, n *Node, v *view, fn func(*meta.Tx) error) (own int64) {
	t.Helper()
	own, err := n.meta.UpdateAt(t.Context(), fn)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.wait(soon(t), own, api.Applied); err != nil {
		t.Fatalf("while a store is stuck: %v", err)
	}
	return own
}

// soon ends before anything is to be stuck.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// asked asks for the states of target port groups through a LUN until that is
// answered.
func asked(t *testing.T, c *iscsitest.Conn, lun int) {
	t.Helper()
	k := iscsitest.Command{LUN: lunField(lun), In: 256}
	k.CDB[0], k.CDB[1], k.CDB[8], k.CDB[9] = 0xa3, 0x0a, 1, 0
	for {
		r, err := c.Do(k)
		if err != nil {
			t.Fatal(err)
		}
		if r.Status == 0 {
			return
		}
	}
}

// waits reports that changes, of these revisions or 0 for all, are not in effect
// yet.
func waits(t *testing.T, n *Node, v *view, own ...int64) {
	t.Helper()
	rev, err := n.meta.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range own {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if v.wait(ctx, rev, own) == nil {
			t.Error("it is in effect that a LUN is gone whose task writes still")
		}
		cancel()
	}
}

// absent wants no volume at a LUN.
func absent(t *testing.T, c *iscsitest.Conn, lun int) {
	t.Helper()
	for {
		switch key, asc := ready(t, c, lun); {
		case key == 5 && asc == 0x2500:
			return
		case key != 6:
			t.Fatalf("LUN %d: %x/%04x", lun, key, asc)
		}
	}
}

// appears waits until there is a volume at a LUN that is ready.
func appears(t *testing.T, c *iscsitest.Conn, lun int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; pause.For(t.Context(), 10*time.Millisecond) {
		key, asc := ready(t, c, lun)
		if key == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("LUN %d: %x/%04x", lun, key, asc)
		}
	}
}

// A slow store is no dead path: a LUN that goes while its store is stuck holds up
// its volume alone. Other sessions ask for the states of ports and have instances
// fenced, gateways come, LUNs of other volumes are mapped.
func TestUnmapWhileTheStoreIsStuck(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	a := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
	mappedBy(t, n, "b", 1<<20, san.DriverLayered)
	b := volume(t, n, "c", 1<<20)
	allServed(t, n)
	owner := ownerOf(t, n, a.ID)
	g := n.gateways()[owner]
	writer, other := at(t, n, owner, 1), at(t, n, owner, 2)
	moved(t, writer, 0)
	moved(t, other, 1)
	s := g.member.found(a.ID)
	dev := newStuck(t, s.dev.dev.Load().dev)
	s.dev.put(dev)
	finish := dev.write(t, writer)
	unmapped := committed(t, n, g.view, func(tx *meta.Tx) error { return tx.Unmap(demoIQN, 0) })
	asked(t, other, 1)
	committed(t, n, g.view, func(tx *meta.Tx) error { // another gateway starts
		third := *n.gateways()[1-owner].gateway
		third.Version = "next"
		return tx.Register(&third)
	})
	asked(t, other, 1)
	named := named(t, n, owner, san.Instance{Group: 5, Run: 1, Login: 1})
	moved(t, named, 1)
	if st := fenceAt(t, named, 1, san.Instance{Group: 5, Run: 1, Login: 9}); st != 0 {
		t.Errorf("FENCE: status %#x", st)
	}
	absent(t, other, 0)
	mapped := committed(t, n, g.view, func(tx *meta.Tx) error {
		_, err := tx.Map(demoIQN, 0, san.Mapping{Volume: a.ID})
		return err
	})
	// Who does something else does not wait.
	change := committed(t, n, g.view, func(tx *meta.Tx) error {
		_, err := tx.Map(demoIQN, 2, san.Mapping{Volume: b.ID})
		return err
	})
	if err := g.view.wait(soon(t), change, change); err != nil {
		t.Error(err)
	}
	appears(t, other, 2)
	absent(t, other, 0)
	waits(t, n, g.view, unmapped, mapped, 0)
	dev.release()
	finish()
	if err := follows(t, n, g.view); err != nil {
		t.Fatal(err)
	}
	appears(t, other, 0)
	appears(t, writer, 0)
	if err := writer.WriteBlocks(lunField(0), 0, make([]byte, 512), 512); err != nil {
		t.Error(err)
	}
}

// The same goes for a gateway that serves alone, and for a target that is deleted
// and made again.
func TestDeleteTargetWhileTheStoreIsStuck(t *testing.T) {
	n := node(t, subdir(t, "d"))
	a, b, other := mapped(t, n, "a", 1<<20), volume(t, n, "b", 1<<20), volume(t, n, "c", 1<<20)
	const elsewhere = demoIQN + "2"
	change(t, n, func(tx *meta.Tx) error {
		if err := tx.CreateTarget(&san.Target{Name: elsewhere, Open: true}); err != nil {
			return err
		}
		_, err := tx.Map(elsewhere, 0, san.Mapping{Volume: b.ID})
		return err
	})
	c, err := login(t, n, iscsitest.Login{Target: elsewhere})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, c, 0)
	writer := session(t, n)
	settled(t, writer, 0)
	if err := writer.WriteBlocks(lunField(0), 0, make([]byte, 512), 512); err != nil {
		t.Fatal(err)
	}
	lazy := n.view.units[a.ID].dev.(*lazyDevice)
	dev := newStuck(t, lazy.dev.Load().dev)
	lazy.dev.Store(&opened{dev})
	dev.write(t, writer)
	committed(t, n, n.view, func(tx *meta.Tx) error { return tx.Unmap(demoIQN, 0) })
	deleted := committed(t, n, n.view, func(tx *meta.Tx) error { return tx.DeleteTarget(demoIQN) })
	ended(t, writer)
	committed(t, n, n.view, func(tx *meta.Tx) error {
		if err := tx.CreateTarget(&san.Target{Name: demoIQN, Open: true}); err != nil {
			return err
		}
		if _, err := tx.Map(demoIQN, 0, san.Mapping{Volume: a.ID}); err != nil {
			return err
		}
		_, err := tx.Map(elsewhere, 1, san.Mapping{Volume: other.ID})
		return err
	})
	appears(t, c, 1)
	again, err := login(t, n, iscsitest.Login{Target: demoIQN, ISID: [6]byte{0x80, 0, 0, 0, 0, 9}})
	if err != nil {
		t.Fatal(err)
	}
	absent(t, again, 0)
	waits(t, n, n.view, deleted, 0)
	volume(t, n, "d", 1<<20)
	dev.release()
	if err := follows(t, n, n.view); err != nil {
		t.Fatal(err)
	}
	appears(t, again, 0)
	if err := again.WriteBlocks(lunField(0), 0, make([]byte, 512), 512); err != nil {
		t.Error(err)
	}
}

// Of what has ended behind something that has not, no more is kept than says so.
func TestEffectsBehindOneThatWaits(t *testing.T) {
	v := bareView(t)
	first := v.begin(1)
	for r := range int64(100) {
		v.end(v.begin(2 + r))
	}
	second := v.begin(102)
	v.end(v.begin(103))
	if len(v.effects) != 4 || v.revision != 0 {
		t.Errorf("%d are kept at revision %d", len(v.effects), v.revision)
	}
	v.end(first)
	if v.revision != 101 {
		t.Errorf("revision %d", v.revision)
	}
	if v.end(second); len(v.effects) != 0 || v.revision != 103 {
		t.Errorf("%d are kept at revision %d", len(v.effects), v.revision)
	}
}

// A volume that is being opened can be told another size meanwhile, and tells
// what is known of it.
func TestGrowWhileAVolumeOpens(t *testing.T) {
	until, opening := make(chan struct{}), make(chan struct{})
	d := newLazy(block.Info{Size: 1 << 20, BlockSize: 512}, func() (block.Device, error) {
		close(opening)
		<-until
		return nil, san.ErrUnavailable
	})
	ended, told := make(chan error), make(chan int64)
	go func() { ended <- block.ReadAt(d, make([]byte, 512), 0) }()
	<-opening
	go func() {
		d.grow(2 << 20)
		if err := d.problem(); err != nil {
			t.Error(err)
		}
		told <- d.Info().Size
	}()
	select {
	case size := <-told:
		if size != 2<<20 {
			t.Errorf("%d bytes", size)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits until the volume is open")
	}
	close(until)
	if err := <-ended; err == nil {
		t.Error("a volume that does not open was read")
	}
	if err := d.problem(); err == nil {
		t.Error("no problem with a volume that does not open")
	}
}
