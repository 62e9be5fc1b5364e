package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sango/internal/bench"
	"sango/internal/initiator"
	"sango/internal/san"
)

// benchInitiator is the name to log in as unless told.
const benchInitiator = "iqn.2026-11.io.sango:bench"

type benchOptions struct {
	load                         bench.Config
	source                       bench.Source
	rw, request, offset, size    string
	destroy, series, progress    bool
	user, secretFile             string
	mutualUser, mutualSecretFile string
	output                       output
}

func (a *app) benchCommand() *cobra.Command {
	o := &benchOptions{}
	c := o.output.add(command("bench URL[,URL...]", "Make load on an iSCSI volume and measure it", `
Make load on a volume of any iSCSI target and measure it, from this process, by
Sango's own initiator. A URL is iscsi://[user[%secret]@]host[:port]/iqn/lun;
several URLs, with commas between, are paths to one volume. Whoever lists the
processes of this machine sees a secret in a URL, not one in a file.

  sango bench iscsi://192.0.2.10/iqn.2026-11.io.sango:demo/0
  sango bench iscsi://192.0.2.10/iqn.2026-11.io.sango:demo/0 --destroy \
      --rw randrw --mix 70 --bs 8k --depth 16 --time 1m
  sango bench iscsi://192.0.2.10/iqn.2026-11.io.sango:demo/0 --destroy \
      --rw randwrite --verify --size 1G

Loads that write destroy what is on the volume, and need --destroy. With
--verify every block that is written tells what it is: its offset, its
generation, a checksum. What is read is compared with what must be there, and
all that was written is read again at the end. Of blocks that this run did not
write, those that an earlier one with --verify left are checked in themselves.

A session goes through the multipath engine, which repeats what a lost path
left unanswered: its stalls show as latency, not as errors. --raw takes plain
sessions instead, one for each URL unless --sessions says more: nothing is
repeated, and whatever goes wrong is an error. The first error ends the run,
unless --max-errors allows more.

How to read it. Latency is what the process sees, from handing a request to the
initiator until the answer is there; MB are 10^6 bytes. Without --rate the loop
is closed: each of the depth × sessions requests is followed by the next one
when it is answered. A target that stalls gets no load meanwhile, and the stall
counts once for each of them, so the percentiles look better than what clients
would feel that come at times of their own (coordinated omission). With --rate
requests are due at fixed times, and their latency counts from when they were
due, which the timers of this machine make some 50 µs longer. The processor time
is that of this process, in a mixed load shared out by the number of requests;
on the machine of its target a client takes from it what it measures.

Ctrl-C ends the run and prints what was measured; a second one ends it at once,
with status 1.
The run waits up to 30 seconds for a path at its start, and up to a minute for
requests that are not answered. The exit status is 1 if there was any error.

-o json prints an object with "read" and "write", where the load has them:
{"iops","mb_s","lat_us":{"p50","p99","p999","max"},"errors","cpu_s","seconds"};
of several sessions, their requests per second are in
"per_session":{"slowest","median","fastest"}.
`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
	p := c.Flags()
	p.StringVar(&o.rw, "rw", string(bench.RandRead), "what to do: read, write or rw (sequential), randread, randwrite or randrw")
	p.IntVar(&o.load.Mix, "mix", 70, "percent of reads in rw and randrw")
	p.StringVar(&o.request, "bs", "4K", "bytes of a request")
	p.IntVar(&o.load.Depth, "depth", 32, "requests at a time in each session")
	p.IntVar(&o.source.Sessions, "sessions", 0, "sessions, of one path each with --raw (default 1, or one for each URL with --raw)")
	p.StringVar(&o.offset, "offset", "0", "where the area begins that is used")
	p.StringVar(&o.size, "size", "", "bytes of the area (default: to the end of the volume)")
	p.DurationVar(&o.load.Time, "time", 10*time.Second, "how long to measure; 0: until --count")
	p.DurationVar(&o.load.Ramp, "ramp", 0, "how long to make load before measuring")
	p.Int64Var(&o.load.Count, "count", 0, "end after that many requests")
	p.Float64Var(&o.load.Rate, "rate", 0, "requests per second in all (default: as many as are answered)")
	p.BoolVar(&o.load.Verify, "verify", false, "write blocks that tell what they are, and check what is read")
	p.BoolVar(&o.load.FUA, "fua", false, "writes are on stable storage before they are answered")
	p.BoolVar(&o.destroy, "destroy", false, "the data on the volume may be destroyed")
	p.Int64Var(&o.load.MaxErrors, "max-errors", 1, "end after that many errors")
	p.Uint64Var(&o.load.Seed, "seed", 0, "of the random offsets and data (default: another one each time)")
	p.BoolVar(&o.series, "series", false, "with -o json or yaml: also what each interval brought, as \"series\"")
	p.DurationVar(&o.load.Interval, "interval", time.Second, "of the series")
	p.BoolVar(&o.progress, "progress", false, "tell of each interval on standard error (default: on a terminal)")
	p.BoolVar(&o.source.Raw, "raw", false, "plain sessions, without multipath")
	p.BoolVar(&o.source.Discover, "discover", false, "use all portals of the target, not only those of the URLs")
	p.StringVar(&o.source.Policy, "policy", "", "choice of path: service-time, queue-length, round-robin or failover")
	p.StringVar(&o.source.Digests, "digests", "", "CRC32C of header, data, both or none (default: as the target wants it)")
	p.StringVar(&o.source.Initiator, "initiator", benchInitiator, "iSCSI name to log in as")
	p.StringVar(&o.user, "chap-user", "", "CHAP user to log in as, for URLs without one")
	p.StringVar(&o.secretFile, "chap-secret-file", "", "file with that user's secret")
	p.StringVar(&o.mutualUser, "mutual-user", "", "mutual CHAP: the user that the target has to answer as")
	p.StringVar(&o.mutualSecretFile, "mutual-secret-file", "", "file with the target's secret")
	return c
}

// config reads what the flags say of the load.
func (o *benchOptions) config() error {
	var err error
	l := &o.load
	if l.Pattern, err = bench.ParsePattern(o.rw); err != nil {
		return usage("--rw: %v", err)
	}
	for _, f := range []struct {
		name, value string
		to          *int64
	}{{"bs", o.request, &l.Request}, {"offset", o.offset, &l.Offset}, {"size", o.size, &l.Size}} {
		if f.value == "" {
			continue
		}
		if *f.to, err = san.ParseSize(f.value); err != nil {
			return fmt.Errorf("--%s: %w", f.name, err)
		}
	}
	if l.Seed == 0 {
		l.Seed = rand.Uint64()
	}
	if l.Pattern.Writes() && !o.destroy {
		return usage("--rw %s destroys what is on the volume; say --destroy if that is what you want", o.rw)
	}
	o.source.Depth = l.Depth
	return l.Check()
}

// urls reads the argument and the accounts.
func (o *benchOptions) urls(arg string) error {
	var user, secret string
	for _, f := range []struct {
		user, file string
		names      string
		toUser, to *string
	}{
		{o.user, o.secretFile, "--chap-user and --chap-secret-file", &user, &secret},
		{o.mutualUser, o.mutualSecretFile, "--mutual-user and --mutual-secret-file", &o.source.MutualUser, &o.source.MutualSecret},
	} {
		if (f.user == "") != (f.file == "") {
			return usage("%s go together", f.names)
		}
		if f.file == "" {
			continue
		}
		b, err := readSecret(f.file)
		if err != nil {
			return err
		}
		*f.toUser, *f.to = f.user, string(b)
	}
	for i, s := range strings.Split(arg, ",iscsi://") { // a comma may be in a secret
		if i > 0 {
			s = "iscsi://" + s
		}
		u, err := initiator.ParseURL(s)
		if err != nil {
			return usage("%v", err)
		}
		if u.User == "" {
			u.User, u.Secret = user, secret
		}
		o.source.URLs = append(o.source.URLs, u)
	}
	if err := san.CheckIQN(o.source.Initiator); err != nil {
		return fmt.Errorf("--initiator: %w", err)
	}
	return o.source.Check()
}

func (o *benchOptions) run(ctx context.Context, a *app, arg string) error {
	if err := o.config(); err != nil {
		return err
	}
	if err := o.urls(arg); err != nil {
		return err
	}
	ctx, stop := a.interruptible(ctx)
	defer stop()
	o.source.Logger = a.logger(slog.LevelError)
	open, err := o.source.Open(ctx)
	if err != nil {
		return err
	}
	o.load.Volumes = open.Volumes
	info := open.Volumes[0].Info()
	if o.progress || a.terminal && o.output == outputTable {
		o.load.Tick = func(s bench.Sample) { fmt.Fprintln(a.err, benchTick(s)) }
	}
	result, err := bench.Run(ctx, o.load)
	err = errors.Join(err, open.Close(ctx, result != nil && result.Unanswered > 0))
	if result == nil {
		return err
	}
	if !o.series {
		result.Series = nil
	}
	first := o.source.URLs[0]
	report := &benchReport{
		Target: first.Target, LUN: first.LUN, Size: info.Size, BlockSize: info.BlockSize, Pattern: o.load.Pattern,
		Request: o.load.Request, Depth: o.load.Depth, Sessions: len(open.Volumes), Raw: o.source.Raw, Result: result,
	}
	for _, u := range o.source.URLs {
		report.Portals = append(report.Portals, u.Host)
	}
	if err := errors.Join(a.print(o.output, report, report.people), err); err != nil {
		return err
	}
	if len(result.Messages) > 0 {
		return fmt.Errorf("errors: %d, the first one: %s", result.Errors, result.Messages[0])
	}
	return nil
}
