package gateway

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
	"sango/internal/target"
)

// startGang opens a node with several gateways in dir, serving.
func startGang(t *testing.T, dir string, portals int, set ...func(*Config)) *Node {
	t.Helper()
	cfg := Config{Name: "gw", Dir: dir, Each: true, ISCSI: target.Config{DrainTime: 100 * time.Millisecond}, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))}
	for i := range portals {
		cfg.Portals = append(cfg.Portals, Portal{Name: fmt.Sprint(i), Listen: "127.0.0.1:0"})
	}
	for _, f := range set {
		f(&cfg)
	}
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Serve()
	allServed(t, n)
	return n
}

// allServed waits until all volumes are, and all gateways know of each other and
// of who serves them: one that hears of that later tells its hosts of it then.
func allServed(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var err error
	for range 2 { // all are members, and all are served; then all know it
		for _, g := range n.gateways() {
			for !current(g) {
				if !pause.For(ctx, 10*time.Millisecond) {
					t.Fatalf("%s does not know what is current", g.cfg.Name)
				}
			}
		}
		if err = n.Ready(ctx); err != nil {
			break
		}
	}
	if err == nil {
		return
	}
	for _, g := range n.gateways() {
		for _, s := range g.member.slots {
			s.wait(func() {
				t.Logf("%s: stage %d, epoch %d, owner %+v, relay %v (ready %v) for %d", g.cfg.Name, s.stage, s.epoch, s.rec, s.via != nil, s.via != nil && s.via.Ready(), s.viaFor)
			})
		}
	}
	t.Fatal(err)
}

// current waits until everything that was committed is in effect at a gateway,
// and reports whether it is.
func current(g *Node) bool {
	if g.member == nil {
		return true
	}
	told := make(chan bool, 1)
	g.member.runtime.Fresh(func(ok bool) { told <- ok })
	return <-told
}

// at logs in to a gateway of n, as an initiator port of a host.
func at(t *testing.T, n *Node, gateway int, port byte) *iscsitest.Conn {
	t.Helper()
	for {
		c, err := iscsitest.Dial(n.Portals()[gateway].Listen)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Reset)
		if err = c.Login(iscsitest.Login{Target: demoIQN, Initiator: webIQN, ISID: [6]byte{0x80, 0, 0, 0, 0, port}}); err == nil {
			return c
		}
		if t.Context().Err() != nil || !pause.For(t.Context(), 20*time.Millisecond) {
			t.Fatal(err)
		}
	}
}

// moved is settled for a volume that may be on its way to another gateway.
func moved(t *testing.T, c *iscsitest.Conn, lun int) {
	t.Helper()
	const inTransition = 0x040a
	for {
		key, asc := ready(t, c, lun)
		switch {
		case key == 0:
			return
		case key == unitAttention:
		case asc != inTransition || !pause.For(t.Context(), 20*time.Millisecond):
			t.Fatalf("unit %d is not ready: %x/%04x", lun, key, asc)
		}
	}
}

// ownerOf returns the index of the gateway that serves a volume.
func ownerOf(t *testing.T, n *Node, v san.UUID) int {
	t.Helper()
	for {
		st, err := n.member.runtime.Status(t.Context())
		if err == nil {
			for _, o := range st.Volumes {
				for i, g := range n.gateways() {
					if o.Volume == v && o.State == model.Active && string(o.Owner.Gateway) == g.cfg.Name {
						return i
					}
				}
			}
		}
		if !pause.For(t.Context(), 10*time.Millisecond) {
			t.Fatal("nobody serves the volume")
		}
	}
}

// A volume is read and written through every gateway, wherever its owner is,
// also after it moved and after a restart.
func TestGatewaysServeOneVolume(t *testing.T) {
	for _, driver := range []string{san.DriverLayered, san.DriverMem} {
		t.Run(driver, func(t *testing.T) {
			dir := subdir(t, "d")
			n := startGang(t, dir, 3)
			stopped := false
			t.Cleanup(func() {
				if !stopped {
					stop(t, n)
				}
			})
			v := mappedBy(t, n, "a", 1<<20, driver)
			block := func(i int) []byte { return bytes.Repeat([]byte{byte(i + 1)}, 512) }
			check := func() {
				t.Helper()
				allServed(t, n)
				for w := range 3 {
					c := at(t, n, w, byte(w))
					moved(t, c, 0)
					if err := c.WriteBlocks(lunField(0), uint64(w), block(w), 512); err != nil {
						t.Fatalf("write through %d: %v", w, err)
					}
				}
				for r := range 3 {
					c := at(t, n, r, byte(r))
					moved(t, c, 0)
					for w := range 3 {
						got, err := c.Read(lunField(0), uint64(w), 1, 512)
						if err != nil || !bytes.Equal(got, block(w)) {
							t.Fatalf("read through %d of what was written through %d: %v", r, w, err)
						}
					}
				}
			}
			check()
			for range 4 {
				to := (ownerOf(t, n, v.ID) + 1) % 3
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				err := cluster.MoveVolume(ctx, n.member.store, v.ID, model.GatewayID(n.gateways()[to].cfg.Name))
				cancel()
				if err == nil { // the order stands for some seconds: who coordinates after a restart would obey again
					order := meta.RecordKey{Kind: meta.RecordAsk, Name: v.ID.String()}
					_, _, err = n.meta.Change(t.Context(), nil, []meta.Record{{RecordKey: order}})
				}
				if err != nil {
					t.Fatal(err)
				}
				check()
				if driver == san.DriverMem {
					continue
				}
				stop(t, n)
				n = startGang(t, dir, 3)
				check()
			}
			stop(t, n)
			stopped = true
		})
	}
}

func mappedBy(t *testing.T, n *Node, name string, size int64, driver string) *san.Volume {
	t.Helper()
	v := &san.Volume{Name: name, Size: size, Driver: driver, BlockSize: 512, PhysicalBlock: 4096}
	if err := n.Volumes().Create(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	mapVolume(t, n, v)
	return v
}
