package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/gateway"
	"sango/internal/san"
)

type doctorOptions struct {
	portals []string
	config  string
	output  output
}

func (a *app) doctorCommand() *cobra.Command {
	o := &doctorOptions{}
	c := o.output.add(command("doctor", "Look for the usual mistakes and say what to do", `
Look for the usual mistakes: a port that is taken, a directory that is not
writable, in use or full, too few file handles, a clock that jumps, damaged
metadata and volumes. Of a node that is stopped it looks through all volumes; a
node that runs tells which of its volumes it can't open, and where several serve
together whether one of them coordinates, who is dead, and how many members of
the metadata answer.

It looks at the directory of --dir or $SANGO_DIR and at the ports of --portals,
or at those of a configuration file, with the other members of the metadata and
the fence command that this names; and asks the node if one is running. It fails
if anything is wrong that keeps a node from serving.`, cobra.NoArgs, func(ctx context.Context, _ []string) error { return o.run(ctx, a) }))
	c.Flags().StringSliceVar(&o.portals, "portals", nil, "addresses that are to be served on, as IP:PORT,IP:PORT")
	c.Flags().StringVar(&o.config, "config", "", "configuration file of the node")
	return c
}

func (o *doctorOptions) run(ctx context.Context, a *app) error {
	portals := o.portals
	var dir, volumes string
	var others []gateway.Finding
	if o.config != "" {
		cfg, _, err := gateway.ReadConfig(o.config)
		if err != nil {
			return err
		}
		dir, volumes = cfg.Dir, cfg.Cluster.Volumes
		for _, p := range cfg.Portals {
			portals = append(portals, p.Listen)
		}
		others = gateway.ExamineCluster(ctx, &cfg)
	} else {
		var err error
		if dir, err = a.node(); err != nil {
			return err
		}
	}
	findings, running := o.ask(ctx, a, dir)
	findings = append(append(gateway.Examine(ctx, dir, volumes, portals, running), others...), findings...)
	failed := 0
	for _, f := range findings {
		if f.State == gateway.FindingFailed {
			failed++
		}
	}
	if err := a.print(o.output, findings, func(w io.Writer) {
		for _, f := range findings {
			fmt.Fprintf(w, "%-8s %s: %s\n", f.State, f.Check, f.Detail)
			if f.Advice != "" {
				fmt.Fprintf(w, "         → %s\n", f.Advice)
			}
		}
	}); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed", failed)
	}
	return nil
}

// ask asks the node in dir how it is, if one is running.
func (o *doctorOptions) ask(ctx context.Context, a *app, dir string) (out []gateway.Finding, running bool) {
	sub := *a
	sub.dir = dir
	cl, err := sub.client()
	if err != nil {
		return nil, false
	}
	defer cl.Close()
	resp, err := cl.GetStatus(ctx, connect.NewRequest(&v1.GetStatusRequest{}))
	switch {
	case errors.Is(err, san.ErrUnavailable) && gateway.Unanswered(dir) != nil: // what else is looked at tells by whom
		return nil, false
	case errors.Is(err, san.ErrUnavailable):
		return []gateway.Finding{{Check: "node", State: gateway.FindingOK, Detail: "none is running"}}, false
	case err != nil:
		return []gateway.Finding{{Check: "node", State: gateway.FindingFailed, Detail: err.Error(), Advice: "look into its log"}}, true
	}
	out = append(out, gateway.Finding{Check: "node", State: gateway.FindingOK, Detail: fmt.Sprintf("process %d answers", resp.Msg.GetPid())})
	out = append(out, clusterFindings(ctx, cl, resp.Msg.GetCluster(), resp.Msg.GetOld())...)
	known := map[string]bool{}
	for _, f := range out {
		if name, ok := strings.CutPrefix(f.Check, "volume "); ok {
			known[name] = true
		}
	}
	var bad []gateway.Finding
	if resp.Msg.GetOld() == "" { // else it would wait for the metadata once more
		bad, err = brokenVolumes(ctx, cl, known)
	}
	if err != nil {
		return append(out, gateway.Finding{Check: "volumes", State: gateway.FindingFailed, Detail: err.Error(), Advice: "look into the node's log"}), true
	}
	out = append(out, bad...)
	for _, p := range resp.Msg.GetProblems() {
		if slices.ContainsFunc(bad, func(f gateway.Finding) bool { return strings.HasPrefix(p, f.Check+" ") }) {
			continue // told already
		}
		out = append(out, gateway.Finding{Check: "node", State: gateway.FindingWarning, Detail: p})
	}
	return out, true
}

// brokenVolumes asks a node which of its volumes do not serve.
// Those that are known already are left out.
func brokenVolumes(ctx context.Context, cl *api.Client, known map[string]bool) (out []gateway.Finding, err error) {
	resp, err := cl.ListVolumes(ctx, connect.NewRequest(&v1.ListVolumesRequest{}))
	if err != nil {
		return nil, err
	}
	for _, v := range resp.Msg.GetVolumes() {
		if p := v.GetProblem(); p != "" && !known[v.GetName()] {
			out = append(out, gateway.Finding{
				Check: "volume " + v.GetName(), State: gateway.FindingFailed, Detail: p,
				Advice: "stop the node and run 'sango volume check " + v.GetName() + "'; if there is damage, restore the volume from a copy",
			})
		}
	}
	return out, nil
}
