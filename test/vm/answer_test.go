package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sango/test/harness"
)

func TestParseStep(t *testing.T) {
	s, err := parseStep("make_xfs 3 10.25 12.75\n")
	if err != nil || s.name != "make_xfs" || s.status != 3 || s.took.Seconds() != 2.5 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "a b c d", "a 0 1", "a 0 1 x"} {
		if s, err := parseStep(bad); err == nil {
			t.Errorf("%q was taken as %+v", bad, s)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestStepsAreReportedOnceAndWhole(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	rep := &harness.Report{W: &out}
	write(t, filepath.Join(dir, "results"), "one 0 1 2\ntwo 1 2")
	seen, err := steps(dir, 0, rep)
	if err != nil || rep.Passed != 1 || rep.Failed != 0 {
		t.Fatalf("%d passed, %d failed, %v", rep.Passed, rep.Failed, err)
	}
	write(t, filepath.Join(dir, "results"), "one 0 1 2\ntwo 1 2 3\n")
	if _, err = steps(dir, seen, rep); err != nil || rep.Passed != 1 || rep.Failed != 1 {
		t.Fatalf("%d passed, %d failed, %v\n%s", rep.Passed, rep.Failed, err, &out)
	}
}

func TestAnswer(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	rep := &harness.Report{W: &out}
	done := make(chan struct{})
	write(t, filepath.Join(dir, "request"), "grow data 1G\n")
	do := func(_ context.Context, verb string, args []string) (string, error) {
		close(done)
		if verb != "grow" || strings.Join(args, " ") != "data 1G" {
			t.Errorf("asked for %s %v", verb, args)
		}
		return "", errors.New("disk full")
	}
	if err := answer(t.Context(), dir, done, do, rep); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "answer")); err != nil || string(b) != "1\ndisk full\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestWhatAStepTellsIsPrinted(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	rep := &harness.Report{W: &out}
	write(t, filepath.Join(dir, "results"), "one 0 1 2 longest stall: 120 ms\ntwo 0 2 3 \n")
	if _, err := steps(dir, 0, rep); err != nil || rep.Passed != 2 {
		t.Fatalf("%d passed, %v", rep.Passed, err)
	}
	if want := "ok   one (1.0 s)\n     longest stall: 120 ms\nok   two (1.0 s)\n"; out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
}
