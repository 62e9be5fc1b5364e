package relay

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/relay/wire"
	"sango/internal/san"
)

// raw is a front that can do everything wrong.
type raw struct {
	t    testing.TB
	conn net.Conn

	mu     sync.Mutex
	more   sync.Cond
	frames []rawFrame
	closed bool
	stamp  uint64
}

type rawFrame struct {
	h    wire.Header
	body []byte
	data []byte
}

// dialRaw connects to g without a word.
func connectRaw(t testing.TB, g *gateway) *raw {
	a, b := net.Pipe()
	g.node.accept(b)
	f := &raw{t: t, conn: a}
	f.more.L = &f.mu
	go f.receive()
	t.Cleanup(func() { _ = a.Close() })
	return f
}

// dialRaw connects to g as m, by its link line.
func dialRaw(t testing.TB, g *gateway, m model.Member, line uint16) *raw {
	f := connectRaw(t, g)
	f.write(hello(g, m, line).Append(nil))
	w, err := wire.ParseWelcome(f.next(wire.TypeWelcome).body)
	if err != nil {
		t.Fatal(err)
	}
	f.stamp = w.Stamp
	return f
}

func hello(g *gateway, m model.Member, line uint16) *wire.Hello {
	return &wire.Hello{
		Min: wire.MinVersion, Max: wire.MaxVersion, Cluster: testCluster, From: onWire(m), To: onWire(g.node.cfg.Self), Line: line,
	}
}

func (f *raw) receive() {
	defer func() {
		f.mu.Lock()
		f.closed = true
		f.mu.Unlock()
		f.more.Broadcast()
	}()
	for {
		var b [wire.HeaderLen]byte
		if _, err := io.ReadFull(f.conn, b[:]); err != nil {
			return
		}
		h, err := wire.ParseHeader(b[:])
		if err != nil {
			f.t.Error(err)
			return
		}
		p := make([]byte, h.Body+h.Data)
		if _, err := io.ReadFull(f.conn, p); err != nil {
			return
		}
		f.mu.Lock()
		if h.Type == wire.TypeBeat {
			beat, _ := wire.ParseBeat(p, wire.MaxVersion)
			f.stamp = beat.Stamp
		} else {
			f.frames = append(f.frames, rawFrame{h, p[:h.Body], p[h.Body:]})
		}
		f.mu.Unlock()
		f.more.Broadcast()
	}
}

// next returns the next frame, which must be of type want.
func (f *raw) next(want wire.Type) rawFrame {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.frames) == 0 && !f.closed {
		f.more.Wait()
	}
	if len(f.frames) == 0 {
		f.t.Fatalf("closed, instead of a %v", want)
	}
	x := f.frames[0]
	f.frames = f.frames[1:]
	if x.h.Type != want {
		f.t.Fatalf("a %v, instead of a %v", x.h.Type, want)
	}
	return x
}

// expectClosed waits for the end of the connection.
func (f *raw) expectClosed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.closed {
		f.more.Wait()
	}
}

// write sends b; whoever is not there any more does not get it.
func (f *raw) write(b []byte) { _, _ = f.conn.Write(b) }

// open asks for a nexus at the volume.
func (f *raw) open(h wire.Handle, id san.NexusID) {
	o := wire.NexusOpen{Handle: h, Nexus: id, Volume: testVolume, Epoch: 7}
	f.write(o.Append(nil))
}

func (f *raw) expectOpened(h wire.Handle) {
	f.t.Helper()
	o, err := wire.ParseNexusOpened(f.next(wire.TypeNexusOpened).body)
	if err != nil || o.Handle != h || o.Reason != wire.ReasonNone {
		f.t.Fatalf("%+v, %v", o, err)
	}
}

func (f *raw) expectRefused(why wire.Reason) {
	f.t.Helper()
	o, err := wire.ParseNexusOpened(f.next(wire.TypeNexusOpened).body)
	if err != nil || o.Reason != why {
		f.t.Fatalf("%+v, %v", o, err)
	}
}

// command returns a write without data.
func (f *raw) command(h wire.Handle, tag wire.Tag, seq wire.Seq) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := wire.Command{Handle: h, Tag: tag, Seq: seq, Token: f.stamp, CDB: [16]byte{0x2a}, Expected: 4096, Flags: wire.FlagWrite}
	b := make([]byte, wire.HeaderLen+wire.CommandLen)
	c.Put(b, 0)
	return b
}

func (f *raw) expectOutcome(tag wire.Tag, o wire.Outcome) {
	f.t.Helper()
	r, err := wire.ParseResponse(f.next(wire.TypeResponse).body)
	if err != nil || r.Tag != tag || r.Outcome != o {
		f.t.Fatalf("%+v, %v; want %d, outcome %d", r, err, tag, o)
	}
}

// beat keeps the connection alive until the test ends.
func (f *raw) beat() {
	quit := make(chan struct{})
	f.t.Cleanup(func() { close(quit) })
	go func() {
		for {
			select {
			case <-quit:
				return
			case <-time.After(250 * time.Millisecond):
				f.write((&wire.Beat{Stamp: 1}).Append(nil))
			}
		}
	}()
}

// inbound returns a link at g.
func (g *gateway) inbound(m model.Member, line uint16) *inbound {
	g.node.mu.Lock()
	defer g.node.mu.Unlock()
	return g.node.inbounds[inboundKey{m, line}]
}
