package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sango/test/harness"
)

func TestOnlyAPanicIsTriedAgain(t *testing.T) {
	share := t.TempDir()
	panicked := func(console string) error {
		if err := os.WriteFile(filepath.Join(share, "console"), []byte(console), 0o600); err != nil {
			t.Fatal(err)
		}
		return verdict(share, nil)
	}
	step := errors.New("a step failed")
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{step, false},
		{panicked("[ 1.0] Kernel panic - not syncing: Fatal exception in interrupt\n"), true},
		{panicked("[ 1.0] reboot: Power down\n"), false},
		{errors.Join(nil, fmt.Errorf("vm: %w", errPanic)), true},
		{errors.Join(errors.Join(nil, errPanic), nil), true},
		{errors.Join(step, errPanic), false},
		{errors.Join(errPanic, step), false},
	} {
		if got := onlyPanicked(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestEachLineSaysWhoseItIs(t *testing.T) {
	var out strings.Builder
	rep := &harness.Report{W: lineWriter{&out, "2 "}}
	rep.Add("one", time.Second, errors.New("first\nsecond"))
	if want := "2 FAIL one (1.0 s)\n2      first\n2      second\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
