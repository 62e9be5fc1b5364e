package gateway

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sango/internal/api"
	"sango/internal/block"
	"sango/internal/meta"
	"sango/internal/san"
)

func TestRestartServesWhatWasThere(t *testing.T) {
	dir := subdir(t, "d")
	n := start(t, dir)
	v := mapped(t, n, "a", 1<<20)
	tag := n.Portals()[0].TPG
	c := session(t, n)
	settled(t, c, 0)
	data := bytes.Repeat([]byte{0x3c}, 8192)
	if err := c.WriteBlocks(lunField(0), 8, data, 512); err != nil {
		t.Fatal(err)
	}
	stop(t, n)
	if _, err := os.Stat(api.SocketPath(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the management socket is left: %v", err)
	}

	n = node(t, dir)
	if got := n.Portals()[0].TPG; got != tag {
		t.Errorf("the portal's tag was %d, is %d", tag, got)
	}
	c = session(t, n)
	settled(t, c, 0)
	got, err := c.Read(lunField(0), 8, 16, 512)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the data is not back: %v", err)
	}
	snap, err := n.meta.Load(t.Context())
	if err != nil || snap.Volumes[v.ID] == nil || snap.Volumes[v.ID].NAA != v.NAA {
		t.Errorf("the volume's record is not what it was: %v", err)
	}
}

func TestOneNodeADirectory(t *testing.T) {
	dir := subdir(t, "d")
	node(t, dir)
	_, err := Open(t.Context(), Config{Name: "gw2", Dir: dir, Portals: []Portal{{Name: "a", Listen: "127.0.0.1:0"}}})
	if !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("second node: %v", err)
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	n := node(t, subdir(t, "d"))
	taken := n.Portals()[0].Listen
	_, err := Open(t.Context(), Config{Name: "gw2", Dir: subdir(t, "e"), Portals: []Portal{{Name: "a", Listen: taken}}})
	if !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), taken) || !strings.Contains(err.Error(), "taken") {
		t.Errorf("portal that is taken: %v", err)
	}
}

// What a process left half done when it died is cleaned up by the next.
func TestHalfDoneVolumesAreCleanedUp(t *testing.T) {
	dir := subdir(t, "d")
	n := start(t, dir)
	created := &san.Volume{ID: san.NewUUID(), Name: "half", Size: 1 << 20}
	api.Defaults(created)
	deleted := volume(t, n, "gone", 1<<20)
	change(t, n, func(tx *meta.Tx) error { return tx.Begin(created.ID, created.Name) })
	if err := n.disks.create(created); err != nil {
		t.Fatal(err)
	}
	change(t, n, func(tx *meta.Tx) error { return tx.DeleteVolume(deleted.ID) })
	grown := volume(t, n, "grown", 1<<20)
	change(t, n, func(tx *meta.Tx) error { return tx.BeginResize(grown.ID, 2<<20) })
	if err := n.disks.resize(grown, 2<<20); err != nil {
		t.Fatal(err)
	}
	memory := &san.Volume{Name: "memory", Size: 1 << 20, Driver: san.DriverMem}
	api.Defaults(memory)
	if err := n.Volumes().Create(t.Context(), memory); err != nil {
		t.Fatal(err)
	}
	change(t, n, func(tx *meta.Tx) error { return tx.BeginResize(memory.ID, 2<<20) })
	change(t, n, func(tx *meta.Tx) error { return tx.BeginExport(meta.Export{Volume: grown.ID, Snapshot: "export-x"}) })
	if err := n.disks.store.Snapshot(grown.ID, "export-x"); err != nil {
		t.Fatal(err)
	}
	stop(t, n)

	n = node(t, dir)
	change(t, n, func(tx *meta.Tx) error {
		pending, err := tx.Pending()
		exports, eerr := tx.Exports()
		if len(pending) > 0 || len(exports) > 0 {
			t.Errorf("still under way: %v, %v", pending, exports)
		}
		return errors.Join(err, eerr)
	})
	if snaps, err := n.disks.store.Snapshots(grown.ID); err != nil || len(snaps) > 0 {
		t.Errorf("the snapshot of an export that was cut short is left: %v, %v", snaps, err)
	}
	ids, err := n.disks.store.List()
	if err != nil || len(ids) != 1 || ids[0] != grown.ID {
		t.Errorf("left in the store: %v, %v", ids, err)
	}
	snap, err := n.meta.Load(t.Context())
	if err != nil || snap.Volumes[grown.ID].Size != 2<<20 {
		t.Errorf("the record of a resize that was cut short: %+v, %v", snap.Volumes[grown.ID], err)
	}
	volume(t, n, "half", 1<<20)
	volume(t, n, "gone", 1<<20)
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	n := node(t, subdir(t, "d"))
	volume(t, n, "a", 1<<20)
	for want, v := range map[error]*san.Volume{
		san.ErrExists:  {Name: "a", Size: 1 << 20},
		san.ErrInvalid: {Name: "b", Size: 1<<20 + 1},
	} {
		api.Defaults(v)
		if err := n.Volumes().Create(t.Context(), v); !errors.Is(err, want) {
			t.Errorf("create %s: %v, want %v", v.Name, err, want)
		}
	}
	missing := &san.Volume{Name: "c", Adopted: filepath.Join(t.TempDir(), "missing")}
	api.Defaults(missing)
	if err := n.Volumes().Create(t.Context(), missing); err == nil {
		t.Error("a file that is not there was adopted")
	}
	ids, err := n.disks.store.List()
	if err != nil || len(ids) != 1 {
		t.Errorf("in the store: %v, %v", ids, err)
	}
}

// A volume whose files are damaged does not keep the others from serving.
func TestDamagedVolumeFailsAlone(t *testing.T) {
	dir := subdir(t, "d")
	n := start(t, dir)
	mapped(t, n, "good", 1<<20)
	bad := mapped(t, n, "bad", 1<<20)
	stop(t, n)
	if err := os.WriteFile(filepath.Join(dir, volumesName, "volumes", bad.ID.String(), "manifest"), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	n = node(t, dir)
	c := session(t, n)
	settled(t, c, 0)
	if _, err := c.Read(lunField(0), 0, 1, 512); err != nil {
		t.Errorf("the good volume: %v", err)
	}
	if _, err := c.Ready(lunField(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(lunField(1), 0, 1, 512); err == nil {
		t.Error("the damaged volume was read")
	}
	st, err := n.Status(t.Context())
	if err != nil || len(st.Problems) == 0 || !strings.Contains(strings.Join(st.Problems, "\n"), "volume bad does not open") {
		t.Errorf("status: %+v, %v", st.Problems, err)
	}
}

func TestLazyDevice(t *testing.T) {
	n := node(t, subdir(t, "d"))
	v := volume(t, n, "a", 1<<20)
	opens := 0
	d := newLazy(block.Info{Size: 1 << 20, BlockSize: 512}, func() (block.Device, error) {
		opens++
		return n.disks.store.Open(v.ID)
	})
	if d.Info().Size != 1<<20 || opens != 0 {
		t.Errorf("Info opened the device (%d times)", opens)
	}
	p := make([]byte, 512)
	if err := block.Do(d, block.OpRead, block.NoWait, 0, 512, p); block.ClassOf(err) != block.WouldBlock || opens != 0 {
		t.Errorf("a NoWait request: %v, %d opens", err, opens)
	}
	if err := block.ReadAt(d, p, 0); err != nil || opens != 1 {
		t.Errorf("the first read: %v, %d opens", err, opens)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := block.ReadAt(d, p, 0); block.ClassOf(err) != block.Closed {
		t.Errorf("a read after Close: %v", err)
	}
	never := newLazy(block.Info{}, func() (block.Device, error) { return nil, errors.New("never") })
	if err := never.Close(); err != nil {
		t.Error(err)
	}
	if err := block.ReadAt(never, p, 0); block.ClassOf(err) != block.Closed {
		t.Errorf("a read after Close: %v", err)
	}
}
