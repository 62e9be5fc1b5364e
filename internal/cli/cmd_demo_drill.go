package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sango/internal/drill"
)

// drillFlags are the flags that go with --drill.
var drillFlags = []string{"drill", "output", "dir"}

// runDrill plays a drill instead of serving. What it makes is gone afterwards.
func (o *demoOptions) runDrill(ctx context.Context, a *app, c *cobra.Command) error {
	for _, name := range []string{"portals", "advertise", "api", "volume", "ready-file", "log", "chap-user", "chap-secret-file", "mutual-user", "mutual-secret-file"} {
		if c.Flags().Changed(name) {
			return usage("--%s does not go with --drill, which has gateways and a volume of its own; only --%s do", name, strings.Join(drillFlags[1:], " and --"))
		}
	}
	if a.dir != "" {
		if err := os.MkdirAll(a.dir, 0o700); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp(a.dir, "sango-drill-") // of a.dir "" the system's
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, stop := a.interruptible(ctx)
	defer stop()
	opts := drill.Options{Program: program, Dir: dir}
	if o.output == outputTable {
		opts.Say = func(at time.Duration, text string) { fmt.Fprintf(a.out, "%5.1f s  %s\n", at.Seconds(), text) }
	}
	r, err := drill.Run(ctx, opts)
	err = errors.Join(err, os.RemoveAll(dir))
	if r == nil {
		return err
	}
	return errors.Join(a.print(o.output, r, func(io.Writer) {}), err)
}
