package gateway

import (
	"errors"
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/meta"
	"sango/internal/san"
)

// Gateways of several machines share volumes only if all of them write through.
func TestMachinesWriteThrough(t *testing.T) {
	n := startGang(t, subdir(t, "d"), 2)
	t.Cleanup(func() { stop(t, n) })
	other := &meta.Gateway{Name: "far", Machine: san.NewUUID(), Node: san.NewUUID()}
	register := func() {
		t.Helper()
		if err := n.meta.Update(t.Context(), func(tx *meta.Tx) error { return tx.Register(other) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.meta.Update(t.Context(), n.checkMachines); err != nil {
		t.Errorf("one machine: %v", err)
	}
	register()
	if err := n.meta.Update(t.Context(), n.checkMachines); !errors.Is(err, san.ErrRefused) {
		t.Errorf("another machine, and neither writes through: %v", err)
	}
	n.cfg.Cluster.Through = true
	if err := n.meta.Update(t.Context(), n.checkMachines); !errors.Is(err, san.ErrRefused) {
		t.Errorf("the other one does not write through: %v", err)
	}
	other.Capabilities = []string{throughMark}
	register()
	if err := n.meta.Update(t.Context(), n.checkMachines); err != nil {
		t.Errorf("both write through: %v", err)
	}
}

// A device that is written through says so, and does so.
func TestThrough(t *testing.T) {
	dev, err := mem.New(mem.Options{Size: 1 << 20, BlockSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	seen := &flagged{Device: dev}
	d := through{seen}
	if d.Info().Caps.WriteBack {
		t.Error("it says that it has a write cache")
	}
	if err := block.WriteAt(d, make([]byte, 512), 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := block.Do(d, block.OpWriteZeroes, 0, 0, 512); err != nil {
		t.Fatal(err)
	}
	if err := block.ReadAt(d, make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	if seen.fua != 2 {
		t.Errorf("%d of two changes were to be stable", seen.fua)
	}
}

// flagged counts the requests that are to be stable.
type flagged struct {
	block.Device
	fua int
}

func (f *flagged) Submit(r *block.Request) {
	if r.Flags&block.FUA != 0 {
		f.fua++
	}
	f.Device.Submit(r)
}
