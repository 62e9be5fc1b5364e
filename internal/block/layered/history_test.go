package layered

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sango/internal/block"
	"sango/internal/san"
)

// TestHistories runs random histories of everything that a volume can do
// against the model, with clean restarts, process deaths and power cuts at
// random calls in between.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"))
		w.fs.SetReflink(rapid.Bool().Draw(t, "reflink"))
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		defer w.close()
		blocks := rapid.IntRange(1, 3*cl+9).Draw(t, "blocks")
		if _, err := w.create(blocks); err != nil {
			t.Fatal(err)
		}
		names := 0
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {},
			"io": func(t *rapid.T) {
				for range rapid.IntRange(1, 6).Draw(t, "n") {
					w.must(t, w.randomIO(t))
				}
			},
			"snapshot": func(t *rapid.T) {
				id := w.pick(t)
				names++
				w.must(t, w.snapshot(id, fmt.Sprintf("s%d", names)))
			},
			"delete-snapshot": func(t *rapid.T) {
				if id, name, ok := w.pickSnapshot(t); ok {
					w.must(t, w.deleteSnapshot(id, name))
				}
			},
			"rollback": func(t *rapid.T) {
				if id, name, ok := w.pickSnapshot(t); ok {
					w.must(t, w.rollback(id, name))
				}
			},
			"clone": func(t *rapid.T) {
				if id, name, ok := w.pickSnapshot(t); ok && len(w.vols) < 4 {
					_, err := w.clone(id, name)
					w.must(t, err)
				}
			},
			"resize": func(t *rapid.T) {
				id := w.pick(t)
				if n := len(w.vols[id].now); n < 6*cl {
					w.must(t, w.resize(id, n+rapid.IntRange(1, cl+3).Draw(t, "more")))
				}
			},
			"delete": func(t *rapid.T) {
				if len(w.vols) > 1 {
					w.must(t, w.delete(w.pick(t)))
				}
			},
			"reopen":   func(t *rapid.T) { w.must(t, w.reopen(w.pick(t))) },
			"crash-in": func(t *rapid.T) { w.fs.CrashAt(rapid.IntRange(1, 60).Draw(t, "calls")) },
			"restart": func(t *rapid.T) {
				if err := w.recoverAfter(rapid.Bool().Draw(t, "power")); err != nil {
					t.Fatal(err)
				}
			},
		})
		w.fs.CrashAt(0)
		if err := w.recoverAfter(true); err != nil {
			t.Fatal(err)
		}
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		if err := w.checkStore(); err != nil {
			t.Fatal(err)
		}
	})
}

// must fails on errors other than the crash, from which it recovers.
func (w *world) must(t *rapid.T, err error) {
	if !w.fs.Crashed() {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := w.recoverAfter(rapid.Bool().Draw(t, "power")); err != nil {
		t.Fatal(err)
	}
}

func (w *world) pick(t *rapid.T) san.UUID {
	ids := slices.SortedFunc(maps.Keys(w.vols), func(a, b san.UUID) int { return int(a[15]) - int(b[15]) })
	return rapid.SampledFrom(ids).Draw(t, "volume")
}

func (w *world) pickSnapshot(t *rapid.T) (id san.UUID, name string, ok bool) {
	id = w.pick(t)
	names := slices.Sorted(maps.Keys(w.vols[id].snaps))
	if len(names) == 0 {
		return id, "", false
	}
	return id, rapid.SampledFrom(names).Draw(t, "snapshot"), true
}

func (w *world) randomIO(t *rapid.T) error {
	id := w.pick(t)
	if w.devs[id] == nil {
		return errors.New("the volume is not open")
	}
	blocks := len(w.vols[id].now)
	b := rapid.IntRange(0, blocks-1).Draw(t, "block")
	n := rapid.IntRange(1, min(blocks-b, 2*cl)).Draw(t, "count")
	if rapid.Bool().Draw(t, "aligned") {
		b = b / cl * cl
		n = min(blocks-b, (n+cl-1)/cl*cl)
	}
	fua := block.Flags(0)
	if rapid.IntRange(0, 4).Draw(t, "fua") == 0 {
		fua = block.FUA
	}
	switch rapid.IntRange(0, 7).Draw(t, "op") {
	case 0:
		return w.flush(id)
	case 1:
		return w.change(id, block.OpDiscard, fua, b, n)
	case 2:
		return w.change(id, block.OpWriteZeroes, fua|block.MayUnmap, b, n)
	case 3:
		return w.change(id, block.OpWriteZeroes, fua, b, n)
	case 4:
		return w.write(id, b, min(n, 100), block.Atomic)
	}
	return w.write(id, b, n, fua)
}
