// Command perf measures Sango beside its peers, in turns on the same machine: the target beside tgtd, the initiator
// beside libiscsi, the NBD server beside nbdkit and qemu-nbd, what many sessions and volumes cost, and next to them what
// TCP and the page cache allow. It needs root and the packages of test/deps.
//
// Only the ratios within one run mean something: the machine is part of every figure. Speed is never an error here; the
// exit status is 1 only if something did not run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"sango/internal/san"
)

// options are the flags.
type options struct {
	sango  string         // the program
	rounds int            // how often each load runs on each contender
	time   time.Duration  // of each such run
	size   int64          // bytes of each volume
	out    string         // directory of the results
	dir    string         // where the volumes are
	only   *regexp.Regexp // of the ids of cases
	short  bool
}

func main() {
	if len(os.Args) > 1 {
		if f := parts[os.Args[1]]; f != nil {
			ended(os.Args[1], f(os.Args[2:]))
		}
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o)
	cancel()
	ended("perf", err)
}

// parts are the halves of measurements that need a process of their own: this program starts itself with their name.
var parts = map[string]func(args []string) error{"echo": echoPart, "sessions": sessionsPart}

func ended(name string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("perf", flag.ContinueOnError)
	f.StringVar(&o.sango, "sango", "bin/sango", "the sango `program`")
	f.IntVar(&o.rounds, "rounds", 5, "how often each load runs on each contender")
	f.DurationVar(&o.time, "time", 2500*time.Millisecond, "of each run")
	size := f.String("size", "1G", "of each volume")
	f.StringVar(&o.out, "out", "", "directory for results.json, results.md and results.svg (default docs/bench, or with -short or -only .cache/perf)")
	f.StringVar(&o.dir, "dir", "", "directory for the volumes (default: a temporary one)")
	only := f.String("only", "", "run only the cases whose id matches this `regexp`")
	f.BoolVar(&o.short, "short", false, "prove in about a minute that everything runs; the figures mean little")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	fail := func(err error) (*options, error) {
		fmt.Fprintln(f.Output(), err)
		return nil, err
	}
	if f.NArg() > 0 {
		return fail(fmt.Errorf("there is no argument %q; see -help", f.Arg(0)))
	}
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return fail(fmt.Errorf("-only: %w", err))
	}
	given := map[string]bool{}
	f.Visit(func(x *flag.Flag) { given[x.Name] = true })
	if o.short {
		if !given["rounds"] {
			o.rounds = 1
		}
		if !given["time"] {
			o.time = 200 * time.Millisecond
		}
		if !given["size"] {
			*size = "64M"
		}
	}
	if o.size, err = san.ParseSize(*size); err != nil {
		return fail(fmt.Errorf("-size: %w", err))
	}
	switch {
	case o.rounds < 1 || o.rounds > 1000:
		return fail(fmt.Errorf("-rounds %d; use 1 to 1000", o.rounds))
	case o.time < 50*time.Millisecond || o.time > time.Hour:
		return fail(fmt.Errorf("-time %v; use 50ms to 1h", o.time))
	case o.size < 16<<20 || o.size%(1<<20) != 0:
		return fail(fmt.Errorf("-size %s; use whole MiB, 16M or more", *size))
	}
	if o.out == "" {
		o.out = filepath.Join("docs", "bench")
		if o.short || *only != "" { // that is no result to keep
			o.out = filepath.Join(".cache", "perf")
		}
	}
	return o, nil
}
