package layered

import (
	"flag"
	"fmt"
	"testing"

	"sango/internal/block"
	"sango/internal/san"
)

var (
	crashSeed = flag.Uint64("crash.seed", 1, "first seed of the crash tests")
	crashCuts = flag.Uint64("crash.cuts", 1, "random outcomes of a power cut that are tried at each point")
)

const cl = clusterSize / modelBlock // blocks a cluster

// steps are what the crash tests go through, one concern each. Every step
// starts from a store of its own, made by the steps it builds on.
var steps = []struct {
	name string
	run  func(w *world) error
}{
	{"write", func(w *world) error {
		id, err := w.create(2*cl + 5)
		return do(err,
			func() error { return w.write(id, 0, 9, 0) },
			func() error { return w.write(id, cl-2, 4, 0) },
			func() error { return w.flush(id) },
			func() error { return w.write(id, 3, 4, 0) },
			func() error { return w.write(id, 2*cl, 5, block.FUA) },
			func() error { return w.write(id, 4, 4, 0) },
			func() error { return w.reopen(id) },
			func() error { return w.write(id, 5, 4, 0) })
	}},
	{"snapshot", func(w *world) error {
		id, err := w.create(3*cl + 5)
		return do(err,
			func() error { return w.write(id, 0, 2*cl, 0) },
			func() error { return w.snapshot(id, "a") },
			func() error { return w.write(id, 3, 4, 0) },      // copied up
			func() error { return w.write(id, cl, cl, 0) },    // whole
			func() error { return w.write(id, 3*cl, 5, 0) },   // nothing beneath, short
			func() error { return w.write(id, 2*cl+7, 1, 0) }, // nothing beneath
			func() error { return w.flush(id) },
			func() error { return w.write(id, 5, 9, 0) },
			func() error { return w.snapshot(id, "b") },
			func() error { return w.write(id, cl-1, 2, block.FUA) },
			func() error { return w.write(id, 0, 3*cl+5, 0) },
			func() error { return w.reopen(id) },
			func() error { return w.write(id, 9, 1, 0) },
			func() error { return w.flush(id) })
	}},
	{"discard", func(w *world) error {
		id, err := w.create(4*cl + 8)
		dis := func(b, n int, f block.Flags) func() error {
			return func() error { return w.change(id, block.OpDiscard, f, b, n) }
		}
		zero := func(b, n int, f block.Flags) func() error {
			return func() error { return w.change(id, block.OpWriteZeroes, f, b, n) }
		}
		return do(err,
			func() error { return w.write(id, 0, 4*cl+8, 0) },
			dis(8, 16, 0), zero(40, 16, 0), zero(70, 16, block.MayUnmap),
			func() error { return w.flush(id) },
			func() error { return w.snapshot(id, "a") },
			dis(cl, 2*cl, 0),
			func() error { return w.write(id, cl+8, 8, 0) },
			dis(4*cl, 8, 0),
			dis(3, 4, 0),
			zero(2*cl, cl, 0), zero(3*cl, cl, block.MayUnmap), zero(2*cl+4, 9, block.FUA),
			func() error { return w.flush(id) },
			func() error { return w.write(id, cl+1, 4, 0) },
			dis(cl, cl, block.FUA),
			func() error { return w.write(id, cl+2, 4, 0) },
			func() error { return w.reopen(id) },
			dis(0, 4*cl+8, 0))
	}},
	{"atomic", func(w *world) error {
		id, err := w.create(3 * cl)
		return do(err,
			func() error { return w.write(id, 0, cl, 0) },
			func() error { return w.write(id, 5, 64, block.Atomic) },
			func() error { return w.write(id, 60, 9, 0) },
			func() error { return w.snapshot(id, "a") },
			func() error { return w.write(id, cl-9, 33, block.Atomic) },
			func() error { return w.write(id, cl-5, 3, 0) },
			func() error { return w.write(id, cl-7, 2*cl, block.Atomic) },
			func() error { return w.write(id, cl-8, 3, block.FUA) })
	}},
	{"resize", func(w *world) error {
		id, err := w.create(cl + 3)
		return do(err,
			func() error { return w.write(id, 0, cl+3, 0) },
			func() error { return w.resize(id, 2*cl+1) },
			func() error { return w.write(id, cl+1, cl, 0) },
			func() error { return w.snapshot(id, "a") },
			func() error { return w.write(id, 2*cl, 1, 0) },
			func() error { return w.resize(id, 4*cl+7) },
			func() error { return w.write(id, 2*cl, 2*cl+7, 0) },
			func() error { return w.flush(id) },
			func() error { return w.rollback(id, "a") },
			func() error { return w.write(id, 4*cl, 7, 0) })
	}},
	{"merge-live", func(w *world) error {
		id, err := w.create(3 * cl)
		return do(err,
			func() error { return w.write(id, 0, 2*cl, 0) },
			func() error { return w.snapshot(id, "a") },
			func() error { return w.write(id, 3, 4, 0) },
			func() error { return w.change(id, block.OpDiscard, 0, cl, cl) },
			func() error { return w.deleteSnapshot(id, "a") },
			func() error { return w.write(id, 5, 4, 0) },
			func() error { return w.snapshot(id, "b") },
			func() error { return w.write(id, 7, 4, block.FUA) },
			func() error { return w.snapshot(id, "c") },
			func() error { return w.write(id, 9, 4, 0) },
			func() error { return w.deleteSnapshot(id, "c") },
			func() error { return w.write(id, 11, 4, 0) },
			func() error { return w.flush(id) })
	}},
	{"merge-frozen", func(w *world) error {
		id, err := w.create(3*cl + 1)
		return do(err,
			func() error { return w.write(id, 0, 3*cl, 0) },
			func() error { return w.snapshot(id, "a") },
			func() error { return w.write(id, 3, 4, 0) },
			func() error { return w.snapshot(id, "b") },
			func() error { return w.change(id, block.OpDiscard, 0, cl, cl) },
			func() error { return w.write(id, 2*cl, cl+1, 0) },
			func() error { return w.resize(id, 4*cl) },
			func() error { return w.snapshot(id, "c") },
			func() error { return w.write(id, 5, 4, 0) },
			func() error { return w.deleteSnapshot(id, "b") }, // into a layer with a log
			func() error { return w.deleteSnapshot(id, "a") }, // into the lowest one
			func() error { return w.write(id, cl, 4, 0) },
			func() error { return w.flush(id) })
	}},
	{"rollback", func(w *world) error {
		id, err := w.create(2 * cl)
		return do(err,
			func() error { return w.write(id, 0, cl, 0) },
			func() error { return w.snapshot(id, "a") },
			func() error { return w.write(id, 3, cl, 0) },
			func() error { return w.snapshot(id, "b") },
			func() error { return w.write(id, 5, 4, 0) },
			func() error { return w.rollback(id, "a") },
			func() error { return w.write(id, 7, 4, 0) },
			func() error { return w.snapshot(id, "d") },
			func() error { return w.rollback(id, "b") },
			func() error { return w.deleteSnapshot(id, "a") },
			func() error { return w.write(id, 9, 4, 0) },
			func() error { return w.deleteSnapshot(id, "d") },
			func() error { return w.flush(id) })
	}},
	{"clone", func(w *world) error {
		id, err := w.create(2 * cl)
		var copied san.UUID
		return do(err,
			func() error { return w.write(id, 0, cl+9, 0) },
			func() error { return w.snapshot(id, "a") },
			func() error { return w.write(id, 3, 4, 0) },
			func() (err error) { copied, err = w.clone(id, "a"); return err },
			func() error { return w.write(copied, 5, 4, 0) },
			func() error { return w.write(id, 6, 4, 0) },
			func() error { return w.deleteSnapshot(id, "a") },
			func() error { return w.snapshot(copied, "x") },
			func() error { return w.write(copied, cl, 4, 0) },
			func() error { return w.delete(id) },
			func() error { return w.deleteSnapshot(copied, "x") }, // collapses: it is alone now
			func() error { return w.write(copied, 8, 4, 0) },
			func() error { return w.flush(copied) })
	}},
}

func do(err error, fns ...func() error) error {
	for _, fn := range fns {
		if err != nil {
			return err
		}
		err = fn()
	}
	return err
}

// TestCrash lets each scenario die at its k-th write or sync, for every k, as
// process death and as power cuts, and checks what comes back; then goes on
// working, and checks once more.
func TestCrash(t *testing.T) {
	t.Logf("seeds from %d (-crash.seed), %d power cuts a point (-crash.cuts)", *crashSeed, *crashCuts)
	for _, step := range steps {
		for _, reflink := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/reflink=%v", step.name, reflink), func(t *testing.T) {
				t.Parallel()
				for k := 1; ; k += crashStride {
					for mode := range 1 + *crashCuts {
						if done := crashOnce(t, step.run, k, mode > 0, reflink, *crashSeed+mode); done {
							t.Logf("%d crash points", k-1)
							return
						}
						if t.Failed() {
							return
						}
					}
				}
			})
		}
	}
}

// crashOnce returns true if the scenario ends before its k-th call.
func crashOnce(t *testing.T, run func(w *world) error, k int, power, reflink bool, seed uint64) bool {
	t.Helper()
	w := newWorld(t, seed+uint64(k)<<20)
	w.fs.SetReflink(reflink)
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	w.fs.CrashAt(k)
	err := run(w)
	crashed := w.fs.Crashed()
	if !crashed {
		w.fs.CrashAt(0)
		if err != nil {
			t.Fatalf("the scenario fails: %v", err)
		}
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		w.forgetOp()
	}
	fail := func(what string, err error) {
		t.Helper()
		t.Errorf("crash at call %d, power=%v, seed %d: %s: %v", k, power, seed, what, err)
	}
	if err := w.recoverAfter(power); err != nil {
		fail("after the crash", err)
		w.close()
		return false
	}
	if err := w.afterlife(); err != nil {
		fail("work after the crash", err)
	}
	if err := w.recoverAfter(true); err != nil {
		fail("after a second power cut", err)
	}
	if err := w.close(); err != nil {
		fail("close", err)
	}
	if err := w.checkStore(); err != nil {
		fail("check of the store", err)
	}
	return !crashed
}

// afterlife uses each volume in each way.
func (w *world) afterlife() error {
	for id := range w.vols {
		n := len(w.vols[id].now)
		err := do(nil,
			func() error { return w.write(id, 1, 3, 0) },
			func() error { return w.change(id, block.OpDiscard, 0, n/2, n/4) },
			func() error { return w.flush(id) },
			func() error { return w.write(id, n/3, n/2, 0) },
			func() error { return w.write(id, n/4, 9, block.Atomic) },
			func() error { return w.write(id, 2, 1, 0) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) checkStore() error {
	if err := w.open(); err != nil {
		return err
	}
	defer w.close()
	rep, err := w.s.Check()
	if err != nil {
		return err
	}
	if !rep.OK() {
		return fmt.Errorf("%v", rep.Problems)
	}
	return nil
}
