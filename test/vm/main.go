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
//	cluster      dm-multipath with ALUA over three gateways that are killed, stopped and drained under verified load, and
//	             mpathpersist while volumes move
//	failover     how long writes stand still there, many times; the short form leaves it to the scenario cluster
//	fence        two guests at different gateways shut each other out with PREEMPT AND ABORT while they write
//
// One line a step; what each step wrote is kept under .cache/vm/last/SCENARIO.
//
//	vm                      all of them
//	vm -scenario ublk,iscsi some
package main

import (
	"context"
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
	flag.DurationVar(&o.deadline, "deadline", 40*time.Minute, "for each scenario")
	harness.Main("vm", func(ctx context.Context) error { return runAll(ctx, o, names) })
}

// runAll runs the scenarios of these names.
func runAll(ctx context.Context, o options, names string) error {
	todo := slices.Clone(scenarios)
	if o.short {
		todo = slices.DeleteFunc(todo, func(s scenario) bool { return s.long })
	}
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
