package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"sango/internal/gateway"
)

type volumeCheckOptions struct{ output output }

func (a *app) volumeCheckCommand() *cobra.Command {
	o := &volumeCheckOptions{}
	return o.output.add(command("check [NAME...]", "Look for damage in the volumes of a node that is stopped", `
Look through the files of volumes, all of them without names, while no node
runs on the directory. It changes nothing. It fails if there is damage.`, cobra.ArbitraryArgs, func(ctx context.Context, args []string) error {
		return o.run(ctx, a, args)
	}))
}

func (o *volumeCheckOptions) run(ctx context.Context, a *app, names []string) error {
	dir, err := a.node()
	if err != nil {
		return err
	}
	p := a.steps(o.output, "checking volumes")
	rep, err := gateway.Check(ctx, gateway.Config{Dir: dir, Log: a.logger(slog.LevelError)}, names, p.step)
	p.end()
	if err != nil {
		return err
	}
	if err := a.print(o.output, rep, func(w io.Writer) {
		for _, f := range rep.Problems {
			fmt.Fprintf(w, "%s: volume %s: %s\n", f.Severity, f.Volume, f.What)
			if f.Advice != "" {
				fmt.Fprintf(w, "  → %s\n", f.Advice)
			}
		}
		fmt.Fprintf(w, "%d volumes with %d layers and %d clusters looked at\n", rep.Volumes, rep.Layers, rep.Clusters)
	}); err != nil {
		return err
	}
	if !rep.OK {
		return fmt.Errorf("there is damage")
	}
	return nil
}
