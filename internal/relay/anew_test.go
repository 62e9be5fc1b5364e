package relay

import (
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/relay/wire"
	"sango/internal/san"
	"sango/internal/scsi"
)

// attention returns the additional sense code of the unit attention that s gets
// next, 0 if it gets none.
func (s *session) attention() byte {
	k := &lun.Task{}
	if st, _ := s.do(k); st == scsi.CheckConditionStatus && k.Sense[2]&0xf == byte(scsi.UnitAttention) {
		return k.Sense[12]
	}
	return 0
}

// What comes to a front while its link is lost, before a reset, is not executed
// after it; its host is told, once.
func TestResetWhileTheLinkIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, simulated, nil)
		pass(3 * time.Second)
		a, b := w.members[0].login(t, 1), w.members[1].login(t, 2)
		for _, s := range []*session{a, b} {
			for !s.write(8, 1) { // past the power on
				continue
			}
		}
		w.members[1].pipes.cut(errDenied)
		synctest.Wait()
		old := &lun.Task{Write: true, Expected: 512, Tag: 1000, Arrival: time.Now()}
		old.CDB[0], old.CDB[5], old.CDB[8] = byte(scsi.OpWrite10), 8, 1
		b.nexus.Admit(old)
		old.Out.Append(buf(make([]byte, 512)))
		old.Ready()
		done := make(chan lun.TMFResponse, 1)
		a.nexus.Manage(lun.TMF{Function: lun.LogicalUnitReset}, func(r lun.TMFResponse) { done <- r })
		if r := <-done; r != lun.TMFComplete {
			t.Fatal(r)
		}
		w.members[1].pipes.cut(nil)
		if k := <-b.ended; k != old || k.Aborted || k.Status != scsi.Busy {
			t.Errorf("a write from before the reset ended with %v", k.Status)
		}
		synctest.Wait()
		if a.attention() != 0x29 || b.attention() != 0x29 {
			t.Error("a host was not told of the reset")
		}
		if v, ok := a.read(8); !ok || v != 1 {
			t.Errorf("block is %d", v)
		}
		pass(5 * time.Second)
		if c := b.attention(); c != 0 {
			t.Errorf("another unit attention: %02x", c)
		}
	})
}

// remap has the owner let go of the volume, as where no LUN maps it any more, and
// serve it again under the same epoch.
func (w *twins) remap() {
	o := w.members[w.owner]
	o.unit.Release()
	o.target.SetMap(nil)
	_ = o.unit.Close()
	vol := san.Volume{ID: testVolume, Name: "v", Driver: "mem", Size: 64 << 20, BlockSize: 512, PhysicalBlock: 4096, NAA: 5}
	dev, err := mem.New(mem.Options{Size: vol.Size, BlockSize: vol.BlockSize, PhysicalBlock: vol.PhysicalBlock})
	if err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(testLog, nil))
	if o.unit, err = lun.NewUnit(vol, medium{block.Device(dev)}, &luntest.Store{}, lun.UnitOptions{Shared: true, Logger: log}); err != nil {
		w.t.Fatal(err)
	}
	o.target.SetMap(map[san.LUN]lun.MapEntry{0: {Unit: o.unit}})
	if err := o.unit.Serve(w.epoch); err != nil {
		w.t.Fatal(err)
	}
}

// An owner that has let go of a volume, and taken it up again under the same
// epoch, is reached again: the nexuses of before end there, though the front keeps
// them until the epoch is over.
func TestOwnerTakesTheVolumeUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, simulated, nil)
		f := w.members[1]
		s := f.login(t, 1)
		for range 3 {
			for !s.write(1, 1) { // past unit attentions
				continue
			}
			w.remap()
			k := &lun.Task{Tag: 1000, Arrival: time.Now()}
			s.nexus.Admit(k)
			pass(500 * time.Millisecond)
			if !f.relay.Moved() {
				t.Fatal("the owner has not said that it was none")
			}
			former := f.anew(w)
			pass(time.Second)
			select {
			case <-s.ended:
			default:
				t.Fatal("the volume is served, and can't be reached")
			}
			former.Leave(f.relay)
			pass(100 * time.Millisecond)
			if n := f.nexuses(); !former.Leave(f.relay) || n != 1 {
				t.Errorf("%d nexuses are kept", n)
			}
		}
		for !s.write(1, 2) {
			continue
		}
	})
}

// anew makes the relay of m anew, and returns the former one.
func (m *member) anew(w *twins) (former *Volume) {
	former = m.relay
	m.relay = m.node.Volume(testVolume, w.epoch, w.members[w.owner].name)
	m.unit.RelayTo(w.epoch, m.relay)
	m.relay.Joined()
	return former
}

// nexuses returns how many handles m has given.
func (m *member) nexuses() (n int) {
	for _, l := range m.relay.peer.lines {
		l.mu.Lock()
		n += len(l.lanes) - len(l.free)
		l.mu.Unlock()
	}
	return n
}

// While an owner says that it is none, and the view names it still, nothing is
// kept of relays that were replaced.
func TestOwnerSaysThatItIsNoneForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, simulated, nil)
		o, f := w.members[0], w.members[1]
		pass(time.Second)
		o.unit.Release()
		f.login(t, 1)
		var former []*Volume
		for range 20 {
			pass(500 * time.Millisecond)
			if !f.relay.Moved() {
				t.Fatal("the owner does not say that it is none")
			}
			former = append(slices.DeleteFunc(former, func(v *Volume) bool { return v.Leave(f.relay) }), f.anew(w))
		}
		if n := f.nexuses(); n > 2 {
			t.Errorf("%d nexuses are kept, %d relays", n, len(former))
		}
	})
}

// A nexus at an owner that says that it is none is not closed before that has
// ended it: it may hold something, and the owner only give the volume up.
func TestNexusStaysAtTheFormerOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, simulated, nil)
		o, f := w.members[0], w.members[1]
		s := f.login(t, 1)
		for !s.write(1, 1) { // past unit attentions
			continue
		}
		o.unit.Hold(func() {})
		k := &lun.Task{Tag: 1000, Arrival: time.Now()}
		s.nexus.Admit(k)
		pass(time.Second)
		if !f.relay.Moved() {
			t.Fatal("the owner has not said that it gives the volume up")
		}
		former := f.anew(w)
		for range 10 {
			pass(time.Second)
			if former.Leave(f.relay) {
				t.Fatal("the nexus was closed")
			}
			for _, ln := range former.all() {
				if ln.state != laneOpen {
					t.Fatalf("the nexus was closed: %d", ln.state)
				}
			}
		}
		former.Over()
	})
}

// What comes over a nexus that had to give way was not executed: it is to go to
// whoever serves, and no task is taken for aborted.
func TestCommandsOfANexusThatGaveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, nil)
		f := dialRaw(t, g, memberA, 0)
		f.beat()
		f.open(1, testNexus(1, 1))
		f.expectOpened(1)
		f.open(2, testNexus(1, 1))
		pass(3 * tickTime)
		f.write(f.command(1, 0, 1))
		f.expectOutcome(0, wire.Done) // it is the owner still
		g.mu.Lock()
		g.unit = newFakeUnit()
		g.mu.Unlock()
		f.expectOpened(2)
		f.write(f.command(1, 1, 2))
		f.expectOutcome(1, wire.Moved)
		f.write((&wire.Manage{ID: 7, Handle: 1, Function: uint8(lun.LogicalUnitReset), Upto: 2}).Append(nil))
		if m, err := wire.ParseManaged(f.next(wire.TypeManaged).body); err != nil || m.Outcome != wire.Moved {
			t.Errorf("a function: %+v, %v", m, err)
		}
		f.write(f.command(2, 2, 1))
		f.expectOutcome(2, wire.Done)
		f.write((&wire.NexusClose{Handle: 1}).Append(nil))
		f.next(wire.TypeNexusClosed)
	})
}
