package layered

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/block"
	"sango/internal/san"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

var layerName = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

var manifestSize = regexp.MustCompile(`(/manifest\.tmp) 0\+\d+`)

// TestTrace compares the order of all writes and syncs of each operation with
// the golden one: a sync that gets lost, or moves, shows as a diff.
func TestTrace(t *testing.T) {
	w := newWorld(t, 1)
	w.fs.Trace()
	var out strings.Builder
	labels := map[string]string{}
	step := func(name string, fn func() error) {
		t.Helper()
		if err := fn(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out.WriteString("# " + name + "\n")
		for _, l := range w.fs.TakeTrace() {
			l = layerName.ReplaceAllStringFunc(l, func(id string) string {
				if labels[id] == "" {
					labels[id] = string(rune('A' + len(labels)))
				}
				return labels[id]
			})
			l = manifestSize.ReplaceAllString(l, "$1") // it holds dates
			out.WriteString(strings.ReplaceAll(l, "/store/volumes/", "") + "\n")
		}
		out.WriteString("\n")
	}
	var id, copied san.UUID
	step("open an empty directory", w.open)
	step("create and open", func() (err error) { id, err = w.create(3 * cl); return err })
	step("write", func() error { return w.write(id, 0, cl, 0) })
	step("write with FUA", func() error { return w.write(id, 8, 8, block.FUA) })
	step("flush", func() error { return w.flush(id) })
	step("flush again", func() error { return w.flush(id) })
	step("atomic write", func() error { return w.write(id, 8, 16, block.Atomic) })
	step("discard", func() error { return w.change(id, block.OpDiscard, 0, 16, 16) })
	step("snapshot", func() error { return w.snapshot(id, "a") })
	step("first write to a cluster", func() error { return w.write(id, 8, 8, 0) })
	step("second write to a cluster", func() error { return w.write(id, 16, 8, 0) })
	step("first write of a whole cluster", func() error { return w.write(id, cl, cl, 0) })
	step("flush with a log", func() error { return w.flush(id) })
	step("write with FUA and a log", func() error { return w.write(id, 2*cl, 8, block.FUA) })
	step("atomic write with a log", func() error { return w.write(id, cl-8, 16, block.Atomic) })
	step("discard with something beneath", func() error { return w.change(id, block.OpDiscard, 0, cl, cl) })
	step("write zeroes", func() error { return w.change(id, block.OpWriteZeroes, 0, cl, 2*cl) })
	step("resize", func() error { return w.resize(id, 4*cl) })
	step("close and open", func() error { return w.reopen(id) })
	step("clone", func() (err error) { copied, err = w.clone(id, "a"); return err })
	step("snapshot of the clone", func() error { return w.snapshot(copied, "x") })
	step("delete the clone", func() error { return w.delete(copied) })
	step("rollback", func() error { return w.rollback(id, "a") })
	step("write after rollback", func() error { return w.write(id, 0, 8, 0) })
	step("delete the snapshot, merge", func() error { return w.deleteSnapshot(id, "a") })
	step("delete", func() error { return w.delete(id) })
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/trace.golden"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Errorf("writes and syncs differ from %s (-rewrite accepts them):\n%s", golden, d)
	}
}
