package multipath

import (
	"flag"
	"testing"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/mem"
	"sango/internal/lun"
)

// The device passes the contract suite over a target of ours.
func TestContract(t *testing.T) {
	fewer(t)
	rigs := map[block.Device]*rig{}
	open := func(t testing.TB, s blocktest.Spec, ro bool) block.Device {
		r := newRig(t, mem.Options{Size: s.Size, BlockSize: s.BlockSize, ReadOnly: ro}, lun.TargetOptions{})
		d, err := Open(soon(t), r.config())
		if err != nil {
			t.Fatal(err)
		}
		rigs[d] = r
		return d
	}
	blocktest.Run(t, blocktest.Driver{
		New:      func(t testing.TB, s blocktest.Spec) block.Device { return open(t, s, false) },
		ReadOnly: func(t testing.TB, s blocktest.Spec) block.Device { return open(t, s, true) },
		Resize: func(d block.Device, size int64) error {
			r := rigs[d]
			if err := r.dev.Resize(size); err != nil {
				return err
			}
			r.unit.Resized()
			_ = block.ReadAt(d, make([]byte, 4096), 0) // takes the unit attention; checks would, later
			until(r.t, d.(*Device), "the new size", func(v *View) bool { return v.Size == size })
			return nil
		},
		Reopen: func(t testing.TB, d block.Device) block.Device {
			r := rigs[d]
			n, err := Open(soon(t), r.config())
			if err != nil {
				t.Fatal(err)
			}
			rigs[n] = r
			return n
		},
	})
}

// fewer makes the random histories of a test fewer than usual: each operation
// of theirs goes over the network.
func fewer(t *testing.T) {
	const name = "rapid.checks"
	f := flag.Lookup(name)
	old := f.Value.String()
	if err := flag.Set(name, "20"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := flag.Set(name, old); err != nil {
			t.Error(err)
		}
	})
}
