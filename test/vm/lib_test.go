package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What fails in the middle of a step fails the step, also of one that the rest depends on.
func TestAStepFailsInTheMiddle(t *testing.T) {
	for _, how := range []string{"step", "must", "long"} {
		dir := t.TempDir()
		lib, err := os.ReadFile(filepath.Join("scenario", "lib"))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("/share", dir, "/tmp/note", filepath.Join(dir, "note")).Replace(string(lib))
		text += "inner() { false; true; }\nbroken() { inner; true; }\n" + how + " broken\necho >" + filepath.Join(dir, "after") + "\n"
		if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "script"), text)
		out, err := exec.CommandContext(t.Context(), "sh", filepath.Join(dir, "script")).CombinedOutput()
		results, rerr := os.ReadFile(filepath.Join(dir, "results"))
		if rerr != nil {
			t.Fatalf("%v: %v\n%s", rerr, err, out)
		}
		s, perr := parseStep(string(results))
		if perr != nil || s.name != "broken" || s.status == 0 {
			t.Errorf("%s: %q, %v", how, results, perr)
		}
		_, serr := os.Stat(filepath.Join(dir, "after"))
		if went := serr == nil; went == (how == "must") {
			t.Errorf("%s: went on %v, %v\n%s", how, went, err, out)
		}
	}
}
