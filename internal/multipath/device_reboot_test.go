package multipath

import (
	"strings"
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/san"
)

// restart stops the target, and starts it with a LUN 0 whose cache is on a
// machine of that boot, or that has no cache.
func (r *rig) restart(boot byte, cache bool) {
	r.t.Helper()
	m, err := mem.New(mem.Options{Size: rigSize, BlockSize: 512})
	if err != nil {
		r.t.Fatal(err)
	}
	dev := block.Device(m)
	if cache {
		dev = &backed{Device: m}
	}
	v := san.Volume{ID: san.UUID{1}, Name: "cached", Driver: "mem", Size: rigSize, BlockSize: 512, PhysicalBlock: 512, NAA: 0x7777}
	u, err := lun.NewUnit(v, dev, &luntest.Store{}, lun.UnitOptions{Boot: san.UUID{15: boot}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.halt()
	old := r.units[0].Unit
	r.units[0] = lun.MapEntry{Unit: u}
	r.remap()
	if err := old.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.serve()
}

// Acknowledged writes that were not flushed are lost when the target's machine
// starts anew: the next flush says so, be it that of Close.
func TestReboot(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	r.restart(1, true)
	d, err := Open(soon(t), r.config())
	if err != nil {
		t.Fatal(err)
	}
	write := func(f block.Flags) {
		t.Helper()
		if err := block.WriteAt(d, make([]byte, 4096), 0, f); err != nil {
			t.Fatal(err)
		}
	}
	flush := func(what string, lost bool) {
		t.Helper()
		rebooted(t, what, block.Flush(d), lost)
	}
	bothUp(t, d)
	write(0)
	r.restart(2, true)
	until(t, d, "the machine's restart", func(v *View) bool { return v.Counters.Reboots == 1 })
	flush("after a restart of the machine", true)
	flush("once more", false)
	write(0)
	r.restart(2, true)
	flush("after a restart of the process", false)
	write(block.FUA)
	r.restart(3, true)
	flush("after a write with FUA", false)
	write(0)
	flush("before a restart", false)
	r.restart(4, true)
	flush("after a flush", false)
	if err := block.Do(d, block.OpDiscard, 0, 0, 4096); err != nil {
		t.Fatal(err)
	}
	r.restart(5, true)
	rebooted(t, "close", d.Close(), true)
	if n := d.View().Counters.Reboots; n != 2 {
		t.Errorf("%d restarts are counted", n)
	}
}

// Without a cache nothing is lost.
func TestRebootWriteThrough(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	r.restart(1, false)
	d := r.open(r.config())
	if err := block.WriteAt(d, make([]byte, 4096), 0, 0); err != nil {
		t.Fatal(err)
	}
	r.restart(2, false)
	rebooted(t, "flush", block.Flush(d), false)
}

// rebooted checks whether err tells of lost writes.
func rebooted(t *testing.T, what string, err error, lost bool) {
	t.Helper()
	told := block.ClassOf(err) == block.Medium && strings.Contains(err.Error(), errRebooted.Error())
	if lost != told || !lost && err != nil {
		t.Errorf("%s: ended with %v", what, err)
	}
}
