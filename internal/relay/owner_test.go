package relay

import (
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/san"
	"sango/internal/scsi"
)

// alone returns an owner that nobody calls but the test.
func alone(t *testing.T, change func(*Config)) *gateway { return newGateway(t, memberB, change) }

// A token that is too old when its command is let in is refused, whatever kept
// it: the wire, or its data.
func TestStaleToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, nil)
		ran := 0
		g.unit.set(func(r *fakeRemote, k *lun.Task) { ran++; r.done(k, scsi.Good) })
		f := dialRaw(t, g, memberA, 0)
		f.beat()
		f.open(1, testNexus(1, 1))
		f.expectOpened(1)
		old := f.command(1, 0, 1)
		slow := f.command(1, 1, 2)
		c, _ := wire.ParseCommand(slow[wire.HeaderLen:])
		c.Out = 4096
		c.Put(slow, 0)
		f.write(slow)
		pass(2900 * time.Millisecond)
		f.write(f.command(1, 2, 3))
		f.expectOutcome(2, wire.Done)
		pass(200 * time.Millisecond)
		c, _ = wire.ParseCommand(old[wire.HeaderLen:])
		c.Seq = 4
		c.Put(old, 0)
		f.write(old)
		f.expectOutcome(0, wire.Stale)
		data := make([]byte, wire.HeaderLen+wire.DataLen+4096)
		wire.Data{Tag: 1}.Put(data, wire.TypeDataOut, 4096)
		f.write(data)
		f.expectOutcome(1, wire.Stale)
		if ran != 1 {
			t.Errorf("%d commands were executed", ran)
		}
	})
}

// A task management request leaves a tombstone for the commands that it has
// overtaken.
func TestTombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, nil)
		var ran []uint64
		g.unit.set(func(r *fakeRemote, k *lun.Task) { ran = append(ran, k.Call); r.done(k, scsi.Good) })
		f := dialRaw(t, g, memberA, 0)
		for h := range wire.Handle(2) {
			f.open(h, testNexus(byte(h), 1))
			f.expectOpened(h)
		}
		m := wire.Manage{ID: 9, Handle: 1, Function: uint8(lun.LogicalUnitReset), Upto: 5}
		f.write(m.Append(nil))
		if a, err := wire.ParseManaged(f.next(wire.TypeManaged).body); err != nil || a.ID != 9 || a.Outcome != wire.Done || a.Response != uint8(lun.TMFComplete) {
			t.Fatalf("%+v, %v", a, err)
		}
		f.write(f.command(1, 0, 4))
		f.expectOutcome(0, wire.Aborted)
		f.write(f.command(1, 0, 5))
		f.expectOutcome(0, wire.Aborted)
		f.write(f.command(1, 0, 6))
		f.expectOutcome(0, wire.Done)
		f.write(f.command(0, 0, 1)) // another nexus
		f.expectOutcome(0, wire.Done)
		if len(ran) != 2 || ran[0] != 6 || ran[1] != 1 {
			t.Errorf("executed: %v", ran)
		}
	})
}

// A front opens nexuses through its own target ports alone.
func TestIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, nil)
		f := dialRaw(t, g, memberA, 0)
		f.open(1, testNexus(1, 100))
		f.expectRefused(wire.ReasonPort)
		id := testNexus(1, 1)
		id.Target.Name = "iqn.other"
		f.open(1, id)
		f.expectRefused(wire.ReasonPort)
		o := wire.NexusOpen{Handle: 1, Nexus: testNexus(1, 1), Volume: san.UUID{1}}
		f.write(o.Append(nil))
		f.expectRefused(wire.ReasonUnknown)
		g.unit.attach = func() error { return lun.ErrMoved }
		f.open(1, testNexus(1, 1))
		f.expectRefused(wire.ReasonMoved)
		if len(g.unit.all()) > 0 {
			t.Error("a nexus was attached")
		}
	})
}

func TestHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, nil)
		g.known = func(m model.Member) (bool, bool) { return m.Incarnation == 1, m.Incarnation == 0 }
		for name, c := range map[string]struct {
			change func(h *wire.Hello)
			want   wire.Reason
		}{
			"another cluster":      {func(h *wire.Hello) { h.Cluster = san.UUID{9} }, wire.ReasonCluster},
			"a dead incarnation":   {func(h *wire.Hello) { h.From.Incarnation = 0 }, wire.ReasonGone},
			"nobody knows it yet":  {func(h *wire.Hello) { h.From.Incarnation = 5 }, wire.ReasonUnknown},
			"another one is meant": {func(h *wire.Hello) { h.To.Incarnation = 3 }, wire.ReasonGone},
			"only later versions":  {func(h *wire.Hello) { h.Min, h.Max = wire.MaxVersion+1, wire.MaxVersion+2 }, wire.ReasonVersion},
			"too many lines":       {func(h *wire.Hello) { h.Line = maxLinks }, wire.ReasonBusy},
		} {
			f := connectRaw(t, g)
			h := hello(g, memberA, 0)
			c.change(h)
			f.write(h.Append(nil))
			r, err := wire.ParseRefused(f.next(wire.TypeRefused).body)
			if err != nil || r.Reason != c.want || r.Text == "" {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
			f.expectClosed()
		}
		// A later version that still knows ours is welcome.
		f := connectRaw(t, g)
		h := hello(g, memberA, 0)
		h.Max += 5
		f.write(h.Append(nil))
		w, err := wire.ParseWelcome(f.next(wire.TypeWelcome).body)
		if err != nil || w.Version != wire.MaxVersion {
			t.Errorf("%+v, %v", w, err)
		}
		// Its next incarnation ends it, and is not ended by it.
		g.mu.Lock()
		g.known = func(model.Member) (bool, bool) { return true, false }
		g.mu.Unlock()
		next := dialRaw(t, g, model.Member{Gateway: "a", Incarnation: 8}, 1)
		f.expectClosed()
		late := connectRaw(t, g)
		late.write(hello(g, memberA, 0).Append(nil))
		if r, err := wire.ParseRefused(late.next(wire.TypeRefused).body); err != nil || r.Reason != wire.ReasonGone {
			t.Errorf("%+v, %v", r, err)
		}
		// So does the same line, opened anew; not another one.
		again := dialRaw(t, g, model.Member{Gateway: "a", Incarnation: 8}, 2)
		dialRaw(t, g, model.Member{Gateway: "a", Incarnation: 8}, 1)
		next.expectClosed()
		again.open(1, testNexus(1, 1))
		again.expectOpened(1)
	})
}

// Whatever a peer breaks costs it its link, and nobody else anything.
func TestHostilePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, func(c *Config) { c.NexusCommands, c.NexusBytes, c.Nexuses = 2, 10_000, 16 })
		g.unit.slow()
		good := dialRaw(t, g, memberA, 0)
		good.beat()
		good.open(1, testNexus(1, 1))
		good.expectOpened(1)
		open := func(f *raw) {
			f.open(1, testNexus(2, 1))
			f.expectOpened(1)
		}
		with := func(f *raw, change func(c *wire.Command)) {
			b := f.command(1, 1, 1)
			c, _ := wire.ParseCommand(b[wire.HeaderLen:])
			change(&c)
			c.Put(b, 0)
			f.write(b)
		}
		frame := func(t wire.Type, body, data int) []byte {
			b := make([]byte, wire.HeaderLen+body+data)
			wire.Header{Type: t, Body: body, Data: data}.Put(b)
			return b
		}
		for name, act := range map[string]func(f *raw){
			"garbage":           func(f *raw) { f.write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")) },
			"a second Hello":    func(f *raw) { f.write(hello(g, memberA, 1).Append(nil)) },
			"an owner's frame":  func(f *raw) { f.write((&wire.NexusClosed{}).Append(nil)) },
			"a short body":      func(f *raw) { f.write(frame(wire.TypeCommand, 3, 0)) },
			"a long frame":      func(f *raw) { f.write(frame(wire.TypeDataOut, 4, wire.MaxData+1)[:wire.HeaderLen]) },
			"no such nexus":     func(f *raw) { f.write(f.command(3, 0, 1)) },
			"handle too high":   func(f *raw) { f.open(16, testNexus(2, 1)) },
			"opened twice":      func(f *raw) { open(f); f.open(1, testNexus(2, 1)) },
			"closed twice":      func(f *raw) { f.write((&wire.NexusClose{Handle: 1}).Append(nil)) },
			"tag in use":        func(f *raw) { open(f); f.write(f.command(1, 0, 1)); f.write(f.command(1, 0, 2)) },
			"tag too high":      func(f *raw) { open(f); f.write(f.command(1, 1<<30, 1)) },
			"numbers backwards": func(f *raw) { open(f); f.write(f.command(1, 0, 2)); f.write(f.command(1, 1, 2)) },
			"too many commands": func(f *raw) {
				open(f)
				f.write(f.command(1, 0, 1))
				f.write(f.command(1, 1, 2))
				f.write(f.command(1, 2, 3))
			},
			"too many bytes": func(f *raw) {
				open(f)
				f.write(f.command(1, 0, 1))
				with(f, func(c *wire.Command) { c.Seq, c.Expected, c.Out = 2, 1<<20, 1<<20 })
			},
			"one that is too big": func(f *raw) { open(f); with(f, func(c *wire.Command) { c.Expected, c.Out = maxOut+1, maxOut+1 }) },
			"data for a read":     func(f *raw) { open(f); with(f, func(c *wire.Command) { c.Flags, c.Out = wire.FlagRead, 5 }) },
			"a token to come":     func(f *raw) { open(f); with(f, func(c *wire.Command) { c.Token = 1 << 62 }) },
			"data for nobody":     func(f *raw) { f.write(frame(wire.TypeDataOut, 4, 9)) },
			"too much data": func(f *raw) {
				open(f)
				with(f, func(c *wire.Command) { c.Out = 100 })
				d := frame(wire.TypeDataOut, 4, 101)
				d[wire.HeaderLen+3] = 1
				f.write(d)
			},
			"no data": func(f *raw) {
				open(f)
				with(f, func(c *wire.Command) { c.Out = 100 })
				d := frame(wire.TypeDataOut, 4, 0)
				d[wire.HeaderLen+3] = 1
				f.write(d)
			},
			"a fence of nothing":  func(f *raw) { f.write((&wire.Fence{}).Append(nil, nil)) },
			"stands still midway": func(f *raw) { f.write(hello(g, memberA, 1).Append(nil)[:20]) },
			"is silent":           func(*raw) {},
		} {
			f := dialRaw(t, g, memberA, 1)
			act(f)
			f.expectClosed()
			synctest.Wait()
			if in := g.inbound(memberA, 1); in != nil {
				t.Errorf("%s: something is left: %v", name, in.conn.err)
			}
			if n := len(g.unit.all()); n != 1 {
				t.Errorf("%s: %d nexuses are left", name, n)
			}
		}
		// What is not known, of a later version perhaps, is passed over.
		good.write(frame(99, 10, 10))
		good.write((&wire.NexusClose{Handle: 1}).Append(nil))
		good.next(wire.TypeNexusClosed)
	})
}

// One that sends byte by byte is not taken for alive.
func TestDrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, nil)
		f := dialRaw(t, g, memberA, 0)
		began := time.Now()
		over := make(chan struct{})
		defer func() { <-over }()
		go func() {
			defer close(over)
			for _, b := range make([]byte, 1000) {
				pass(100 * time.Millisecond)
				if _, err := f.conn.Write([]byte{b}); err != nil {
					return
				}
			}
		}()
		h := make([]byte, wire.HeaderLen)
		wire.Header{Type: 99, Body: 500}.Put(h)
		f.write(h)
		f.expectClosed()
		if d := time.Since(began); d > 4*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

// A peer that reads nothing is dropped, however much it says.
func TestNotReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, nil)
		a, b := newPipePair(t)
		g.node.accept(b)
		began := time.Now()
		over := make(chan struct{})
		defer func() { <-over }()
		go func() {
			defer close(over)
			_, _ = a.Write(hello(g, memberA, 0).Append(nil))
			for {
				if _, err := a.Write((&wire.Beat{Stamp: 1}).Append(nil)); err != nil {
					return
				}
				pass(100 * time.Millisecond)
			}
		}()
		synctest.Wait()
		in := g.inbound(memberA, 0)
		<-in.conn.quit
		if d := time.Since(began); d > 6*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

// Those that say nothing at all are thrown out, and are not many.
func TestHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := alone(t, nil)
		var all []*raw
		for range maxShaking {
			all = append(all, connectRaw(t, g))
		}
		began := time.Now()
		connectRaw(t, g).expectClosed()
		if d := time.Since(began); d > 0 {
			t.Errorf("after %v", d)
		}
		for _, f := range all {
			f.expectClosed()
		}
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("after %v", d)
		}
	})
}
