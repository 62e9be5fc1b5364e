package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"sango/test/harness"
)

// run runs one scenario.
func run(ctx context.Context, o options, s scenario) (err error) {
	ctx, cancel := context.WithTimeout(ctx, o.deadline)
	defer cancel()
	share, err := prepareShare(o, s.name, s.name)
	if err != nil {
		return err
	}
	out, err := s.prepare(ctx, o, share)
	if err != nil {
		return err
	}
	if out.close != nil {
		defer func() { err = errors.Join(err, out.close()) }()
	}
	if out.twin == nil {
		return runGuest(ctx, o, share, out, os.Stdout)
	}
	other, err := prepareShare(o, s.name, s.name+"-2")
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- runGuest(ctx, o, share, out, lineWriter{os.Stdout, "1 "}) }()
	go func() { ended <- runGuest(ctx, o, other, out.twin, lineWriter{os.Stdout, "2 "}) }()
	if err = <-ended; err != nil {
		cancel() // alone the other one can only wait
	}
	if next := <-ended; err == nil {
		err = next
	}
	return err
}

// lineWriter puts something before each line. What is written ends with whole lines.
type lineWriter struct {
	w      io.Writer
	before string
}

func (l lineWriter) Write(b []byte) (int, error) {
	text := strings.TrimSuffix(string(b), "\n")
	if _, err := io.WriteString(l.w, l.before+strings.ReplaceAll(text, "\n", "\n"+l.before)+"\n"); err != nil {
		return 0, err
	}
	return len(b), nil
}

// runGuest boots a guest, does what it asks for, and reports its steps to w.
func runGuest(ctx context.Context, o options, share string, out *outside, w io.Writer) error {
	env := append(out.env, "SIZE="+o.size)
	if o.short {
		env = append(env, "SHORT=1")
	}
	if err := os.WriteFile(filepath.Join(share, "env"), []byte(strings.Join(env, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	qemu, err := guest{cache: o.cache, share: share}.start(out.kernel, out.qemu)
	if err != nil {
		return err
	}
	if out.started != nil {
		out.started(qemu.Process)
	}
	done := make(chan struct{})
	var ended error
	go func() {
		ended = qemu.Wait()
		close(done)
	}()
	rep := &harness.Report{W: w}
	failed := answer(ctx, share, done, out.do, rep)
	if failed != nil {
		_ = qemu.Process.Kill() // it may have ended by itself
		<-done
	}
	end := verdict(share, ended)
	if failed == nil && end == nil && out.check != nil {
		out.check(ctx, rep)
	}
	return errors.Join(failed, rep.Err(), end)
}

// errPanic says that the guest's kernel panicked.
var errPanic = errors.New("the guest's kernel panicked")

// onlyPanicked reports whether a panic is all that went wrong: no step failed.
func onlyPanicked(err error) bool {
	for {
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok {
			return errors.Is(err, errPanic)
		}
		list := joined.Unwrap()
		if len(list) != 1 {
			return false
		}
		err = list[0]
	}
}

// prepareShare makes the directory that a guest shares, with the scenario in it.
func prepareShare(o options, scenario, dir string) (string, error) {
	share, err := filepath.Abs(filepath.Join(o.cache, "last", dir))
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(share); err != nil {
		return "", err
	}
	if err := os.CopyFS(share, os.DirFS(filepath.Join(o.source, "scenario"))); err != nil {
		return "", err
	}
	return share, os.Rename(filepath.Join(share, "run-"+scenario), filepath.Join(share, "run"))
}

// verdict says whether the guest itself ended well, whatever its steps did: a panic leaves no failed step.
func verdict(share string, ended error) error {
	if ended != nil {
		return fmt.Errorf("QEMU: %w: %s", ended, end(filepath.Join(share, "qemu"), 5))
	}
	status, err := os.ReadFile(filepath.Join(share, "status"))
	if err != nil {
		console := end(filepath.Join(share, "console"), 60)
		if strings.Contains(console, "Kernel panic") {
			return fmt.Errorf("%w; its console said:\n%s", errPanic, console)
		}
		return fmt.Errorf("the guest ended without a status; its console said:\n%s", console)
	}
	if s := strings.TrimSpace(string(status)); s != "0" {
		return fmt.Errorf("the scenario ended with status %s:\n%s", s, end(filepath.Join(share, "output"), 10))
	}
	return nil
}
