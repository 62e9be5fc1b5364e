package gateway

import (
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sango/internal/block/layered/vfs"
	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/pause"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/target"
)

// badDisk is a filesystem that fails one sync of data, which the kernel then takes
// for done.
type badDisk struct {
	vfs.OS
	sync  atomic.Bool  // the next one fails
	notes atomic.Int64 // notes in lock files that are still to fail, once a sync has
	hit   atomic.Bool
}

type badFile struct {
	vfs.File
	d *badDisk
}

type badLock struct {
	vfs.Lock
	d *badDisk
}

func (d *badDisk) Open(name string, m vfs.Mode) (vfs.File, error) {
	f, err := d.OS.Open(name, m)
	if err == nil && strings.HasSuffix(name, ".0000") {
		f = badFile{f, d}
	}
	return f, err
}

func (d *badDisk) Lock(name string) (vfs.Lock, error) {
	l, err := d.OS.Lock(name)
	if err == nil {
		l = badLock{l, d}
	}
	return l, err
}

func (f badFile) Sync() error {
	if f.d.sync.CompareAndSwap(true, false) {
		f.d.hit.Store(true)
		return &vfs.SyncError{Err: syscall.EIO}
	}
	return f.File.Sync()
}

func (l badLock) Note(b []byte) error {
	if l.d.hit.Load() && l.d.notes.Add(-1) >= 0 {
		return syscall.EIO
	}
	return l.Lock.Note(b)
}

// startOn starts a node over d.
func startOn(t *testing.T, dir string, d *badDisk, portals int) *Node {
	t.Helper()
	cfg := Config{Name: "gw", Dir: dir, Each: portals > 1, ISCSI: target.Config{DrainTime: 100 * time.Millisecond}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), fs: d}
	for i := range portals {
		cfg.Portals = append(cfg.Portals, Portal{Name: string(rune('0' + i)), Listen: "127.0.0.1:0"})
	}
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Serve()
	return n
}

// synchronize sends SYNCHRONIZE CACHE until it does not end with a unit attention
// or because the volume moves or has just done so, and returns whether the host was told of a loss.
func synchronize(t *testing.T, c *iscsitest.Conn) (lost bool) {
	t.Helper()
	for {
		k := iscsitest.Command{LUN: lunField(0)}
		k.CDB[0] = 0x35
		r, err := c.Do(k)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Status == 0:
			return false
		case r.Status == uint8(scsi.Busy) && pause.For(t.Context(), 10*time.Millisecond): // its reservations are not known yet
			continue
		case len(r.Sense) < 14:
			t.Fatalf("status %#x, sense %x", r.Status, r.Sense)
		}
		switch key := r.Sense[2] & 15; {
		case key == 3 && r.Sense[12] == 0x0c:
			return true
		case key == 6, key == 2 && r.Sense[12] == 4 && r.Sense[13] == 0x0a:
		default:
			t.Fatalf("status %#x, sense %x", r.Status, r.Sense)
		}
	}
}

// wantLost checks that the host is told once.
func wantLost(t *testing.T, c *iscsitest.Conn, want bool) {
	t.Helper()
	for i := range 3 {
		if got := synchronize(t, c); got != (want && i == 0) {
			t.Errorf("SYNCHRONIZE CACHE %d: told of a loss: %v", i, got)
		}
	}
}

// What was acknowledged, and can't be flushed as the volume moves away, is told to
// its hosts by the next owner, through whichever gateway; a volume is not given
// up before that is sure.
func TestFlushThatFailsAtAMove(t *testing.T) {
	for _, notes := range []int64{0, 4} {
		d := &badDisk{}
		d.notes.Store(notes)
		n := startOn(t, subdir(t, "d"), d, 2)
		t.Cleanup(func() { stop(t, n) })
		v := mappedBy(t, n, "a", 1<<20, san.DriverLayered)
		allServed(t, n)
		owner := ownerOf(t, n, v.ID)
		a, b := at(t, n, owner, 1), at(t, n, 1-owner, 2)
		moved(t, a, 0)
		moved(t, b, 0)
		wantLost(t, a, false)
		if err := a.WriteBlocks(lunField(0), 0, make([]byte, 512), 512); err != nil {
			t.Fatal(err) // acknowledged
		}
		d.sync.Store(true)
		to := model.GatewayID(n.gateways()[1-owner].cfg.Name)
		if err := cluster.MoveVolume(t.Context(), n.member.store, v.ID, to); err != nil {
			t.Fatal(err)
		}
		for ownerOf(t, n, v.ID) == owner {
			pause.For(t.Context(), 10*time.Millisecond)
		}
		allServed(t, n)
		if !d.hit.Load() || d.notes.Load() > 0 {
			t.Fatalf("a sync failed: %v; notes left to fail: %d", d.hit.Load(), d.notes.Load())
		}
		wantLost(t, a, true)
		wantLost(t, b, true)
	}
}

// So it is where a node ends and starts again on its machine, alone or not.
func TestFlushThatFailsAtTheEnd(t *testing.T) {
	for portals := 1; portals <= 2; portals++ {
		d := &badDisk{}
		dir := subdir(t, "d")
		n := startOn(t, dir, d, portals)
		mappedBy(t, n, "a", 1<<20, san.DriverLayered)
		allServed(t, n)
		c := at(t, n, 0, 1)
		moved(t, c, 0)
		if err := c.WriteBlocks(lunField(0), 0, make([]byte, 512), 512); err != nil {
			t.Fatal(err)
		}
		d.sync.Store(true)
		_ = n.Stop(t.Context()) // it may tell
		if !d.hit.Load() {
			t.Fatal("nothing was flushed")
		}
		n = startOn(t, dir, d, portals)
		t.Cleanup(func() { stop(t, n) })
		allServed(t, n)
		c = at(t, n, 0, 1)
		moved(t, c, 0)
		wantLost(t, c, true)
	}
}
