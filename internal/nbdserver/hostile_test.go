package nbdserver

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/nbd"
)

type nopListener struct{ net.Listener }

func (nopListener) Close() error { return nil }

// stillServes asserts that another client is served.
func (w *world) stillServes() {
	w.t.Helper()
	c := w.connect("")
	c.ok(nbd.CmdWrite, 0, 0, 4096, pattern(4096, 1))
	c.ok(nbd.CmdRead, 0, 0, 4096, nil)
	_ = c.nc.Close()
}

func TestHostileHandshakes(t *testing.T) {
	w := serve(t, Options{})
	w.add("", block.Check(memory(t, mem.Options{}), t), ExportOptions{})
	raw := func(b []byte) *client {
		nc, err := net.Dial("unix", w.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(patience))
		c := &client{t: t, nc: nc}
		c.read(nbd.GreetingLen)
		c.write(b)
		return c
	}
	good := (nbd.ClientFixedNewstyle | nbd.ClientNoZeroes).Append(nil)
	raw([]byte{0xff, 0xff, 0xff, 0xff}).hungUp()
	raw(append(good, "GET / HTTP/1.1\r\n\r\n"...)).hungUp()
	raw(nbd.OptionHeader{Option: nbd.OptList}.Append(nbd.ClientFlags(0).Append(nil))).hungUp() // not fixed newstyle
	raw(nbd.OptionHeader{Option: nbd.OptInfo, Length: 1<<32 - 1}.Append(good)).hungUp()
	raw(nbd.OptionHeader{Option: 77, Length: maxOptionSkip + 1}.Append(good)).hungUp()
	// Clients that stop halfway cost nothing but their connection.
	for n := range nbd.OptionHeaderLen {
		_ = raw(append(good, nbd.OptionHeader{Option: nbd.OptGo, Length: 6}.Append(nil)[:n]...)).nc.Close()
	}
	w.stillServes()
	flood := w.dial()
	go func() {
		b := nbd.OptionHeader{Option: 4711}.Append(nil)
		for {
			if _, err := flood.nc.Write(b); err != nil {
				return
			}
		}
	}()
	flood.hungUp()
	w.stillServes()
}

func TestHandshakeTimeout(t *testing.T) {
	srv, _ := certificate(t)
	w := serve(t, Options{HandshakeTimeout: 500 * time.Millisecond, TLS: srv})
	w.add("", memory(t, mem.Options{}), ExportOptions{})
	w.dial().hungUp()
	nc, err := net.Dial("unix", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.Copy(io.Discard, nc)
	c := w.dial()
	c.write(nbd.OptionHeader{Option: nbd.OptStartTLS}.Append(nil))
	c.hungUp()
}

func TestHostileRequests(t *testing.T) {
	w := serve(t, Options{})
	w.add("", block.Check(memory(t, mem.Options{}), t), ExportOptions{})
	c := w.connect("")
	c.write(make([]byte, 1000))
	c.hungUp()
	c = w.connect("")
	c.send(nbd.CmdWrite, 0, 0, 1<<32-1, nil)
	c.hungUp()
	c = w.connect("")
	c.send(nbd.CmdWrite, 0, 0, 32<<20, make([]byte, 1000)) // and no more
	_ = c.nc.Close()
	c = w.connect("")
	c.write(nbd.Request{}.Append(nil)[:20])
	_ = c.nc.Close()
	c = w.connect("")
	c.fails(nbd.EINVAL, nbd.CmdRead, 0, 0, 1<<32-1, nil)
	w.stillServes()
}

// TestSlowClients: who stops in the middle of a request, or takes no replies,
// is hung up on; an idle client is not, and nobody else waits.
func TestSlowClients(t *testing.T) {
	w := serve(t, Options{StallTimeout: time.Second, Depth: 8})
	w.add("", block.Check(memory(t, mem.Options{}), t), ExportOptions{})
	idle := w.connect("")
	half := w.connect("")
	half.write(nbd.Request{}.Append(nil)[:5])
	payload := w.connect("")
	payload.send(nbd.CmdWrite, 0, 0, 4096, make([]byte, 100))
	deaf := w.connect("")
	deaf.ok(nbd.CmdWrite, 0, 0, 8<<20, pattern(8<<20, 1))
	for range 8 {
		deaf.send(nbd.CmdRead, 0, 0, 8<<20, nil)
	}
	w.stillServes()
	half.hungUp()
	payload.hungUp()
	for range 2 { // as long as the others had
		w.stillServes()
	}
	until(t, func() bool { e, _ := w.s.Export(""); return e.Connections == 1 })
	idle.ok(nbd.CmdRead, 0, 0, 512, nil)
}

// until waits for a condition that the server brings about by itself.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("in vain")
		}
	}
}

func TestTooManyConnections(t *testing.T) {
	w := serve(t, Options{MaxConns: 2})
	w.add("", memory(t, mem.Options{}), ExportOptions{})
	a, b := w.connect(""), w.connect("")
	nc, err := net.Dial("unix", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if n, _ := io.Copy(io.Discard, nc); n != 0 {
		t.Errorf("a third connection got %d bytes", n)
	}
	_ = a.nc.Close()
	until(t, func() bool { e, _ := w.s.Export(""); return e.Connections == 1 })
	b.ok(nbd.CmdRead, 0, 0, 512, nil)
	w.connect("").ok(nbd.CmdRead, 0, 0, 512, nil)
}

// TestRandomRequests sends requests that are good, odd and broken.
func TestRandomRequests(t *testing.T) {
	w := serve(t, Options{MaxRequest: 64 << 10})
	w.add("", block.Check(memory(t, mem.Options{Size: 1 << 20}), t), ExportOptions{})
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		c := w.connect("")
		var out []byte
		for range 20 {
			r := nbd.Request{
				Cmd: nbd.Cmd(rng.IntN(10)), Flags: nbd.CmdFlags(rng.IntN(32)), Offset: uint64(rng.IntN(2100)) * 512, Length: uint32(rng.IntN(200)) * 512,
			}
			if rng.IntN(10) == 0 {
				r.Offset = rng.Uint64()
			}
			out = r.Append(out)
			if r.Cmd == nbd.CmdWrite {
				out = append(out, make([]byte, r.Length)...)
			}
		}
		if rng.IntN(3) == 0 {
			binary.BigEndian.PutUint32(out[rng.IntN(len(out)-4):], rng.Uint32())
		}
		go func() {
			_, _ = c.nc.Write(out)
			_ = c.nc.(*net.UnixConn).CloseWrite()
		}()
		c.hungUp()
		_ = c.nc.Close()
	}
	w.stillServes()
}
