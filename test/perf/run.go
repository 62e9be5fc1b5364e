package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sango/test/harness"
)

// perf is one run of this program.
type perf struct {
	*options
	w      io.Writer
	begin  time.Time
	report *report
}

// group is cases that share their servers.
type group struct {
	name string
	// run starts the servers in dir, runs the cases that are wanted, and stops them.
	run func(p *perf, ctx context.Context, dir string) error
}

var groups = []group{
	{"target", (*perf).targetGroup},
	{"initiator", (*perf).initiatorGroup},
	{"nbd", (*perf).nbdGroup},
	{"sessions", (*perf).sessionsGroup},
	{"volumes", (*perf).volumesGroup},
}

func run(ctx context.Context, o *options) (err error) {
	if err := harness.Need("tgtd", "tgtadm", "iscsi-perf", "qemu-img", "qemu-nbd", "nbdkit", "fio", "iperf3", "fincore"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "perf")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	p := &perf{options: o, w: os.Stdout, begin: time.Now()}
	if p.report, err = newReport(ctx, o, dir); err != nil {
		return err
	}
	var failed []error
	for _, g := range groups {
		sub := filepath.Join(dir, g.name)
		if err := os.Mkdir(sub, 0o755); err != nil {
			return err
		}
		if err := g.run(p, ctx, sub); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", g.name, err))
			fmt.Fprintf(p.w, "FAILED %s: %v\n", g.name, err)
		}
		if ctx.Err() != nil {
			return errors.Join(failed...)
		}
		if err := os.RemoveAll(sub); err != nil {
			return err
		}
	}
	if len(p.report.Cases) == 0 {
		return errors.Join(append(failed, fmt.Errorf("nothing was measured"))...)
	}
	p.report.Seconds = time.Since(p.begin).Round(time.Second).Seconds()
	for _, err := range failed {
		p.report.Failures = append(p.report.Failures, err.Error())
	}
	return errors.Join(append(failed, p.finish())...)
}

// finish prints the tables and writes the files.
func (p *perf) finish() error {
	if err := p.report.write(p.out); err != nil {
		return err
	}
	fmt.Fprintln(p.w)
	p.report.terminal(p.w)
	fmt.Fprintf(p.w, "\nresults.json, results.md and results.svg are in %s\n", p.out)
	return nil
}
