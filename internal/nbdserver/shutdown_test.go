package nbdserver

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/block/mem"
	"sango/internal/nbd"
)

func wait(t *testing.T, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatal("no ", what)
	}
}

func TestCloseDrains(t *testing.T) {
	for _, how := range []string{"close", "remove"} {
		t.Run(how, func(t *testing.T) {
			w := serve(t, Options{})
			d := delay.New(memory(t, mem.Options{}), delay.Options{})
			w.add("", block.Check(d, t), ExportOptions{})
			c, idle, early := w.connect(""), w.connect(""), w.dial()
			d.Hold(block.OpWrite)
			held := c.send(nbd.CmdWrite, 0, 0, 512, pattern(512, 1))
			wait(t, d.Arrived(), "write at the device")
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				if how == "close" {
					w.close()
				} else if err := w.s.Remove(context.Background(), ""); err != nil {
					t.Error(err)
				}
			}()
			idle.hungUp()
			if how == "close" {
				early.hungUp()
			}
			// New requests are refused while the old one is under way. The other
			// connections may have been told before this one: reads, which the
			// device does not hold, tell when it is its turn.
			for {
				if a := c.do(nbd.CmdRead, 0, 0, 512, nil); a.errno == nbd.ESHUTDOWN {
					break
				} else if a.errno != 0 {
					t.Fatalf("a read ended with %+v", a)
				}
			}
			c.fails(nbd.ESHUTDOWN, nbd.CmdWrite, 0, 0, 512, make([]byte, 512))
			select {
			case <-closed:
				t.Fatal("ended with a request under way")
			default:
			}
			d.Release()
			if a := c.receive(0, 0); a.cookie != held || a.errno != 0 {
				t.Errorf("the old request ended with %+v", a)
			}
			c.hungUp()
			wait(t, closed, "end")
		})
	}
}

func TestCloseCutsWhenTimeIsUp(t *testing.T) {
	w := serve(t, Options{})
	d := delay.New(memory(t, mem.Options{}), delay.Options{})
	w.add("", d, ExportOptions{})
	c := w.connect("")
	d.Hold()
	c.send(nbd.CmdRead, 0, 0, 512, nil)
	wait(t, d.Arrived(), "read at the device")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.s.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	c.hungUp()
	d.Release()
	w.close()
	if err := w.s.Add("x", d, ExportOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
}

func TestDisconnectDrains(t *testing.T) {
	w := serve(t, Options{})
	d := delay.New(memory(t, mem.Options{}), delay.Options{})
	w.add("", block.Check(d, t), ExportOptions{})
	c := w.connect("")
	d.Hold(block.OpWrite)
	id := c.send(nbd.CmdWrite, 0, 0, 512, pattern(512, 1))
	wait(t, d.Arrived(), "write at the device")
	c.send(nbd.CmdDisc, 0, 0, 0, nil)
	d.Release()
	if a := c.receive(0, 0); a.cookie != id || a.errno != 0 {
		t.Errorf("%+v", a)
	}
	c.hungUp()
}

func TestServeConnNeedsNoHandshake(t *testing.T) {
	w := serve(t, Options{})
	w.add("disk", block.Check(memory(t, mem.Options{}), t), ExportOptions{})
	e, err := w.s.Export("disk")
	if err != nil || e.Size != 64<<20 || e.Flags&nbd.FlagCanMultiConn == 0 {
		t.Fatalf("%+v, %v", e, err)
	}
	here, there := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- w.s.ServeConn(there, "disk") }()
	c := &client{t: t, nc: here}
	c.ok(nbd.CmdWrite, 0, 0, 4096, pattern(4096, 1))
	if a := c.ok(nbd.CmdRead, 0, 0, 4096, nil); a.data[5] != pattern(4096, 1)[5] {
		t.Error("other data")
	}
	c.send(nbd.CmdDisc, 0, 0, 0, nil)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	other, _ := net.Pipe()
	if err := w.s.ServeConn(other, "nope"); err == nil {
		t.Error("an export that does not exist was served")
	}
}

func TestFlushCoversOtherConnections(t *testing.T) {
	w := serve(t, Options{})
	d := delay.New(memory(t, mem.Options{}), delay.Options{})
	w.add("", block.Check(d, t), ExportOptions{})
	a, b := w.connect(""), w.connect("")
	a.ok(nbd.CmdWrite, 0, 0, 512, pattern(512, 1))
	d.Hold(block.OpFlush)
	b.send(nbd.CmdFlush, 0, 0, 0, nil)
	wait(t, d.Arrived(), "flush at the device, which all connections share")
	// Another connection is not held up.
	a.ok(nbd.CmdRead, 0, 0, 512, nil)
	d.Release()
	if r := b.receive(0, 0); r.errno != 0 {
		t.Error(r.errno)
	}
}
