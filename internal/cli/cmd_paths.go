package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os/signal"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sango/internal/attach"
	"sango/internal/multipath"
)

type pathsOptions struct {
	hostFlags
	output   output
	watch    bool
	interval time.Duration
	optimize int
	// optimizing tells that --optimize was given.
	optimizing bool
}

func (a *app) pathsCommand() *cobra.Command {
	o := &pathsOptions{}
	c := o.output.add(command("paths [NAME]", "Show the attachments of this host, and their paths", `
Show the attachments of this host, or one of them, and the paths of each: the
portal, what the target says of it, and what it did. An attachment whose process
died is dead: what it left waits for the next 'sango attach' of its name.

--watch shows it anew whenever it has changed: on a terminal in place, as JSON or
YAML one document after the other. --optimize asks the target to make a target
port group the one to use; many targets decide that themselves, and refuse.`, cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, a, args) }))
	o.hostFlags.add(c)
	c.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on showing what changes")
	c.Flags().DurationVar(&o.interval, "interval", time.Second, "how often --watch looks")
	c.PreRun = func(c *cobra.Command, _ []string) { o.optimizing = c.Flags().Changed("optimize") }
	c.Flags().IntVar(&o.optimize, "optimize", 0, "target port `GROUP` that the target is asked to make the one to use")
	return c
}

// minInterval bounds how often --watch looks.
const minInterval = 100 * time.Millisecond

func (o *pathsOptions) run(ctx context.Context, a *app, args []string) error {
	d, err := o.dir()
	if err != nil {
		return err
	}
	if o.interval < minInterval {
		return usage("--interval %v: use %v or more", o.interval, minInterval)
	}
	name := ""
	if len(args) > 0 {
		if name, err = d.Find(ctx, args[0]); err != nil {
			return err
		}
	}
	if o.optimizing {
		if name == "" || o.optimize < 0 || o.optimize > 0xffff {
			return usage("--optimize goes with the name of an attachment, and a group from 0 to 65535")
		}
		return d.Optimize(ctx, name, uint16(o.optimize))
	}
	look := func() ([]attach.Status, error) {
		if name == "" {
			return d.List(ctx)
		}
		s, err := d.Status(ctx, name)
		return []attach.Status{s}, err
	}
	show := func(all []attach.Status, w io.Writer) error {
		b := &app{out: w}
		if name != "" {
			return b.print(o.output, all[0], func(w io.Writer) { pathTable(w, all) })
		}
		return b.print(o.output, all, func(w io.Writer) { pathTable(w, all) })
	}
	all, err := look()
	if err != nil {
		return err
	}
	if len(all) == 0 && o.output == outputTable {
		fmt.Fprintf(a.err, "there are no attachments in %s; --host-dir or $SANGO_HOST_DIR names another directory\n", d.Path())
	}
	if err := show(all, a.out); err != nil || !o.watch {
		return err
	}
	return o.follow(ctx, a, all, look, show)
}

// follow shows what look returns whenever it has changed, until it is
// interrupted.
func (o *pathsOptions) follow(ctx context.Context, a *app, last []attach.Status, look func() ([]attach.Status, error), show func([]attach.Status, io.Writer) error) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		all, err := look()
		if err != nil {
			return err
		}
		if reflect.DeepEqual(all, last) {
			continue
		}
		last = all
		var page bytes.Buffer
		switch {
		case o.output == outputTable && a.terminal:
			page.WriteString("\x1b[H\x1b[2J")
		case o.output == outputTable:
			page.WriteString("\n")
		case o.output == outputYAML:
			page.WriteString("---\n")
		}
		if err := show(all, &page); err != nil {
			return err
		}
		if _, err := page.WriteTo(a.out); err != nil {
			return err
		}
	}
}

// pathTable writes one line for each path, and one for an attachment without.
func pathTable(w io.Writer, all []attach.Status) {
	rows := make([][]string, 0, len(all))
	for _, s := range all {
		place := cmp.Or(s.Device, s.Socket, s.Listen)
		head := []string{s.Name, string(s.Phase), dash(place), size(s.Size)}
		if s.Multipath == nil || len(s.Multipath.Paths) == 0 {
			rows = append(rows, append(head, "-", dash(""), "", "", "", ""))
			continue
		}
		for _, p := range s.Multipath.Paths {
			use := ""
			if p.Active {
				use = "active"
			}
			// What the target said before a path was lost, and errors before it came
			// back, are no news; -o json has them.
			state, errors := p.State.String(), strconv.FormatUint(p.Errors, 10)
			if p.ALUA != "" && p.State != multipath.PathDown {
				state += ", " + p.ALUA
			}
			if p.State != multipath.PathUp {
				errors = strings.TrimSpace(errors + " " + p.Error)
			}
			rows = append(rows, append(head, p.Portal, state, dash(use), strconv.Itoa(p.InFlight),
				p.Latency.Round(time.Microsecond).String(), errors))
			head = []string{"", "", "", ""}
		}
	}
	table(w, []string{"NAME", "PHASE", "PLACE", "SIZE", "PORTAL", "STATE", "USE", "IN FLIGHT", "LATENCY", "ERRORS"}, rows)
}
