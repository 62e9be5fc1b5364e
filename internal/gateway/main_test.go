package gateway

import (
	"context"
	"encoding/binary"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"sango/internal/api"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
	"sango/internal/scsi"
)

const (
	demoIQN = "iqn.2026-11.io.sango:test"
	webIQN  = "iqn.2026-11.com.example:web"
)

// node opens a node on one free port in dir, serving, and stops it with the
// test.
func node(t *testing.T, dir string) *Node {
	t.Helper()
	n := start(t, dir)
	t.Cleanup(func() { stop(t, n) })
	return n
}

func start(t *testing.T, dir string) *Node {
	t.Helper()
	n, err := Open(t.Context(), Config{
		Name: "gw1", Dir: dir, Portals: []Portal{{Name: "a", Listen: "127.0.0.1:0"}},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Serve()
	return n
}

func stop(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// change commits fn and waits until it is in effect.
func change(t *testing.T, n *Node, fn func(*meta.Tx) error) {
	t.Helper()
	if err := n.meta.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
	if err := n.Sync(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}

func volume(t *testing.T, n *Node, name string, size int64) *san.Volume {
	t.Helper()
	v := &san.Volume{Name: name, Size: size}
	api.Defaults(v)
	if err := n.Volumes().Create(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	return v
}

// mapped makes a volume and maps it at the lowest free LUN of an open target.
func mapped(t *testing.T, n *Node, name string, size int64) *san.Volume {
	t.Helper()
	v := volume(t, n, name, size)
	mapVolume(t, n, v)
	return v
}

func mapVolume(t *testing.T, n *Node, v *san.Volume) {
	t.Helper()
	change(t, n, func(tx *meta.Tx) error {
		if _, err := tx.Target(demoIQN); err != nil {
			if err := tx.CreateTarget(&san.Target{Name: demoIQN, Open: true}); err != nil {
				return err
			}
		}
		return nil
	})
	change(t, n, func(tx *meta.Tx) error {
		_, err := tx.Map(demoIQN, meta.AnyLUN, san.Mapping{Volume: v.ID})
		return err
	})
}

// login opens a session.
func login(t *testing.T, n *Node, l iscsitest.Login) (*iscsitest.Conn, error) {
	t.Helper()
	c, err := iscsitest.Dial(n.Portals()[0].Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Reset)
	if l.Target == "" {
		l.Target = demoIQN
	}
	if l.Initiator == "" {
		l.Initiator = webIQN
	}
	return c, c.Login(l)
}

func session(t *testing.T, n *Node) *iscsitest.Conn {
	t.Helper()
	c, err := login(t, n, iscsitest.Login{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lunField(n int) [8]byte { return san.LUN(n).Field() }

// ready runs TEST UNIT READY once and returns the sense key and ASC.
func ready(t *testing.T, c *iscsitest.Conn, lun int) (key uint8, asc uint16) {
	t.Helper()
	return run(t, c, iscsitest.Command{LUN: lunField(lun)})
}

func run(t *testing.T, c *iscsitest.Conn, k iscsitest.Command) (key uint8, asc uint16) {
	t.Helper()
	r, err := c.Do(k)
	for err == nil && r.Status == uint8(scsi.Busy) && pause.For(t.Context(), 10*time.Millisecond) {
		r, err = c.Do(k) // its reservations are not known yet
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Status == 0 {
		return 0, 0
	}
	if len(r.Sense) < 4 {
		t.Fatalf("status %#x without sense data", r.Status)
	}
	if r.Sense[0]&0x7f >= 0x72 {
		return r.Sense[1] & 0xf, binary.BigEndian.Uint16(r.Sense[2:])
	}
	return r.Sense[2] & 0xf, binary.BigEndian.Uint16(r.Sense[12:])
}

// settled runs TEST UNIT READY until no unit attention is left.
func settled(t *testing.T, c *iscsitest.Conn, lun int) {
	t.Helper()
	if r, err := c.Ready(lunField(lun)); err != nil || r.Status != 0 {
		t.Fatalf("unit %d is not ready: %+v, %v", lun, r, err)
	}
}

// capacity returns the size of a unit by READ CAPACITY (16), in bytes.
func capacity(t *testing.T, c *iscsitest.Conn, lun int) int64 {
	t.Helper()
	k := iscsitest.Command{LUN: lunField(lun), In: 32}
	k.CDB[0], k.CDB[1], k.CDB[13] = 0x9e, 0x10, 32
	r, err := c.Do(k)
	if err != nil || r.Status != 0 || len(r.Data) < 12 {
		t.Fatalf("READ CAPACITY: %+v, %v", r, err)
	}
	return int64(binary.BigEndian.Uint64(r.Data)+1) * int64(binary.BigEndian.Uint32(r.Data[8:]))
}

func subdir(t *testing.T, name string) string { return filepath.Join(t.TempDir(), name) }
