package fault_test

import (
	"errors"
	"testing"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/layer/fault"
	"sango/internal/block/mem"
)

func memory(t testing.TB, s blocktest.Spec, readOnly bool) block.Device {
	t.Helper()
	d, err := mem.New(mem.Options{Size: s.Size, BlockSize: s.BlockSize, ReadOnly: readOnly})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func over(t testing.TB, rules ...fault.Rule) (*fault.Device, block.Device) {
	t.Helper()
	f := fault.New(memory(t, blocktest.Spec{Size: 1 << 20, BlockSize: 512}, false), 1, rules...)
	return f, block.Check(f, t)
}

// With nothing armed the layer is not there.
func TestContract(t *testing.T) {
	blocktest.Run(t, blocktest.Driver{
		New:      func(t testing.TB, s blocktest.Spec) block.Device { return fault.New(memory(t, s, false), 1) },
		ReadOnly: func(t testing.TB, s blocktest.Spec) block.Device { return fault.New(memory(t, s, true), 1) },
	})
}

func TestScript(t *testing.T) {
	_, d := over(t, fault.Rule{Ops: fault.Write, Off: 4096, Len: 512, Skip: 1, Times: 2, Class: block.NoSpace})
	p := make([]byte, 512)
	for i, want := range []block.Class{0, block.NoSpace, block.NoSpace, 0} {
		err := block.WriteAt(d, p, 4096, 0)
		if block.ClassOf(err) != want || want != 0 && !errors.Is(err, fault.ErrInjected) {
			t.Errorf("write %d: %v", i, err)
		}
		if err := block.WriteAt(d, p, 0, 0); err != nil {
			t.Errorf("elsewhere: %v", err)
		}
		if err := block.ReadAt(d, p, 4096); err != nil {
			t.Errorf("read: %v", err)
		}
	}
}

func TestErrorBeforeAndAfterTheEffect(t *testing.T) {
	for _, after := range []bool{false, true} {
		f, d := over(t)
		rule := f.Arm(fault.Rule{Ops: fault.Write, Class: block.Medium, After: after})
		if err := block.WriteAt(d, []byte{511: 7}, 0, 0); block.ClassOf(err) != block.Medium {
			t.Error(err)
		}
		if rule.Fired() != 1 {
			t.Errorf("fired %d times", rule.Fired())
		}
		rule.Disarm()
		p := make([]byte, 512)
		if err := block.ReadAt(d, p, 0); err != nil {
			t.Fatal(err)
		}
		if (p[511] == 7) != after {
			t.Errorf("after %v: the effect is there: %v", after, p[511] == 7)
		}
	}
}

func TestWouldBlockMeetsNoWaitOnly(t *testing.T) {
	f, d := over(t)
	f.Arm(fault.Rule{Class: block.WouldBlock})
	p := make([]byte, 512)
	if err := block.Do(d, block.OpRead, block.NoWait, 0, 512, p); !errors.Is(err, block.ErrWouldBlock) {
		t.Error(err)
	}
	if err := block.ReadAt(d, p, 0); err != nil {
		t.Error(err)
	}
}

func TestStatusAndFlush(t *testing.T) {
	f, d := over(t)
	f.Arm(fault.Rule{Ops: fault.StatusCalls, Class: block.Medium})
	f.Arm(fault.Rule{Ops: fault.Flush, Class: block.Failed})
	if _, err := d.Status(0, 512, 1); block.ClassOf(err) != block.Medium {
		t.Error(err)
	}
	if err := block.Flush(d); block.ClassOf(err) != block.Failed {
		t.Error(err)
	}
}

// The same seed fails the same requests.
func TestRandomIsRepeatable(t *testing.T) {
	run := func() (s string) {
		_, d := over(t, fault.Rule{Probability: 0.5, Class: block.Busy})
		for range 64 {
			if block.ReadAt(d, make([]byte, 512), 0) != nil {
				s += "x"
			} else {
				s += "."
			}
		}
		return s
	}
	a, b := run(), run()
	if a != b {
		t.Errorf("%s\n%s", a, b)
	}
}
