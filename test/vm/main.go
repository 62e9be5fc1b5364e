// Command vm boots a real Linux kernel in QEMU and lets it use Sango as a host would. It runs these scenarios, one after
// the other:
//
//	iscsi        open-iscsi with mutual CHAP (SHA-256) and both digests, two portals under dm-multipath, ext4 and xfs
//	             with verified load, discard, online grow, persistent reservations of all types, sg3-utils, and the death
//	             of the target in mid-write
//	ublk         disks of package ublk, without a target: every operation, filesystems, kill and recovery
//	attach-ublk  sango attach --as ublk over two portals: filesystems with verified load while portals are cut, refused
//	             and silent, kill -9 and takeover, growth, detach, and sango host run
//	attach-nbd   the same with --as nbd, over four connections
//	boot-nbd     the root filesystem of the guest is a volume, which QEMU reaches by the socket of sango attach
//	boot-iscsi   the same by QEMU's own initiator
//
// One line a step; what each step wrote is kept under .cache/vm/last/SCENARIO.
//
//	vm                      all of them
//	vm -scenario ublk,iscsi some
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sango/test/harness"
)

type options struct {
	sango    string
	cache    string
	source   string
	size     string
	short    bool
	deadline time.Duration
}

func main() {
	var o options
	var names string
	flag.StringVar(&o.sango, "sango", "bin/sango", "the sango `program`")
	flag.StringVar(&o.cache, "cache", ".cache/vm", "`directory` for the guest, and for what the last run wrote")
	flag.StringVar(&o.source, "source", "test/vm", "`directory` of this program's source")
	flag.StringVar(&o.size, "size", "16M", "what each of the four fio jobs writes to a filesystem")
	flag.BoolVar(&o.short, "short", false, "leave out the steps that repeat what others test in another way, and write less")
	flag.StringVar(&names, "scenario", "", "`names` of the scenarios to run, with commas between; none: all")
	flag.DurationVar(&o.deadline, "deadline", 20*time.Minute, "for each scenario")
	harness.Main("vm", func(ctx context.Context) error { return runAll(ctx, o, names) })
}

// runAll runs the scenarios of these names.
func runAll(ctx context.Context, o options, names string) error {
	todo := scenarios
	if names != "" {
		todo = nil
		for name := range strings.SplitSeq(names, ",") {
			i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
			if i < 0 {
				return fmt.Errorf("there is no scenario %q; the head of test/vm/main.go lists them", name)
			}
			todo = append(todo, scenarios[i])
		}
	}
	if err := harness.Need("qemu-system-x86_64", "cpio", "apt-get", "dpkg-deb"); err != nil {
		return err
	}
	g := guest{cache: o.cache}
	if err := g.build(ctx, filepath.Join(o.source, "guest", "build"), os.Stdout); err != nil {
		return err
	}
	var failed []string
	for _, s := range todo {
		fmt.Printf("== %s\n", s.name)
		begin := time.Now()
		err := run(ctx, o, s)
		if onlyPanicked(err) {
			// The emulated processor loses a register now and then, the more often the busier the machine is, and the
			// kernel in it stops for that: once. What a target does to a kernel it does again.
			fmt.Println("the guest's kernel panicked, the whole scenario begins again; a second panic is a failure:", err)
			err = run(ctx, o, s)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fmt.Printf("== %s: %.0f s\n", s.name, time.Since(begin).Seconds())
		if err != nil {
			fmt.Println("FAILED:", err)
			failed = append(failed, s.name)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d scenarios failed: %s", len(failed), len(todo), strings.Join(failed, ", "))
	}
	fmt.Printf("%d scenarios passed\n", len(todo))
	return nil
}

// run runs one scenario.
func run(ctx context.Context, o options, s scenario) (err error) {
	ctx, cancel := context.WithTimeout(ctx, o.deadline)
	defer cancel()
	share, err := prepareShare(o, s.name)
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
	done := make(chan struct{})
	var ended error
	go func() {
		ended = qemu.Wait()
		close(done)
	}()
	rep := &harness.Report{W: os.Stdout}
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

// prepareShare makes the directory that the guest shares, with the scenario in it.
func prepareShare(o options, name string) (string, error) {
	share, err := filepath.Abs(filepath.Join(o.cache, "last", name))
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(share); err != nil {
		return "", err
	}
	if err := os.CopyFS(share, os.DirFS(filepath.Join(o.source, "scenario"))); err != nil {
		return "", err
	}
	return share, os.Rename(filepath.Join(share, "run-"+name), filepath.Join(share, "run"))
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
