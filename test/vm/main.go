// Command vm boots a real Linux kernel in QEMU and lets it use Sango as a host would: open-iscsi with mutual CHAP
// (SHA-256) and both digests, two portals under dm-multipath, ext4 and xfs with verified load, discard, online grow,
// persistent reservations of all types, sg3-utils, and the death of the target in mid-write.
//
//	vm                    the whole scenario, one line a step; what each step wrote is kept under .cache/vm/last
//	vm -scenario ublk     disks of package ublk instead, without a target: every operation, filesystems, kill and recovery
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sango/test/harness"
)

type options struct {
	sango    string
	cache    string
	source   string
	size     string
	scenario string
	deadline time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.sango, "sango", "bin/sango", "the sango `program`")
	flag.StringVar(&o.cache, "cache", ".cache/vm", "`directory` for the guest, and for what the last run wrote")
	flag.StringVar(&o.source, "source", "test/vm", "`directory` of this program's source")
	flag.StringVar(&o.size, "size", "16M", "what each of the four fio jobs writes to a filesystem")
	flag.StringVar(&o.scenario, "scenario", "", "`name` of the scenario, whose steps are in run-NAME; none: run")
	flag.DurationVar(&o.deadline, "deadline", 20*time.Minute, "for the whole scenario")
	flag.Parse()
	ctx, cancel := harness.Interruptible()
	err := run(ctx, o)
	if onlyPanicked(err) {
		// The emulated processor loses a register now and then, the more often the busier the machine is, and the
		// kernel in it stops for that: once. What a target does to a kernel it does again.
		fmt.Println("the guest's kernel panicked, the whole scenario begins again; a second panic is a failure:", err)
		err = run(ctx, o)
	}
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if err := harness.Need("qemu-system-x86_64", "cpio", "apt-get", "dpkg-deb"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.deadline)
	defer cancel()
	share, err := prepare(o)
	if err != nil {
		return err
	}
	g := guest{cache: o.cache, share: share}
	if err := g.build(ctx, filepath.Join(o.source, "guest", "build"), os.Stdout); err != nil {
		return err
	}
	do := func(context.Context, string, []string) (string, error) {
		return "", errors.New("this scenario has nothing outside of the guest")
	}
	if o.scenario == "ublk" {
		if err := buildProbe(ctx, o, share); err != nil {
			return err
		}
	} else {
		t, failed := startTarget(ctx, o.sango)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, t.close()) }()
		env := append(t.env(), "SIZE="+o.size)
		if err := os.WriteFile(filepath.Join(share, "env"), []byte(strings.Join(env, "\n")+"\n"), 0o600); err != nil {
			return err
		}
		do = t.do
	}

	qemu, err := g.start()
	if err != nil {
		return err
	}
	done := make(chan struct{})
	var ended error
	go func() {
		ended = qemu.Wait()
		close(done)
	}()
	rep := &harness.Report{W: os.Stdout}
	failed := answer(ctx, share, done, do, rep)
	if failed != nil {
		_ = qemu.Process.Kill() // it may have ended by itself
		<-done
	}
	return errors.Join(failed, rep.Err(), verdict(share, ended))
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

// prepare makes the directory that the guest shares, with the scenario in it.
func prepare(o options) (string, error) {
	share, err := filepath.Abs(filepath.Join(o.cache, "last"))
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(share); err != nil {
		return "", err
	}
	if err := os.CopyFS(share, os.DirFS(filepath.Join(o.source, "scenario"))); err != nil || o.scenario == "" {
		return share, err
	}
	return share, os.Rename(filepath.Join(share, "run-"+o.scenario), filepath.Join(share, "run"))
}

// buildProbe builds the program that serves a ublk disk in the guest, which has none of this machine's libraries.
func buildProbe(ctx context.Context, o options, share string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(share, "ublkprobe"), "./"+filepath.Join(o.source, "ublkprobe"))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server of ublk disks: %w\n%s", err, out)
	}
	return nil
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
