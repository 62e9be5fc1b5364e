package cli

import (
	"context"
	"io"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/san"
)

func (a *app) targetCommand() *cobra.Command {
	return noun("target", "Manage iSCSI targets and the LUNs they map",
		a.targetCreateCommand(), a.targetSetCommand(), a.targetListCommand(), a.targetShowCommand(), a.targetMapCommand(), a.targetUnmapCommand(), a.targetDeleteCommand())
}

type targetCreateOptions struct {
	accountFlags
	open, explicit bool
	output         output
}

// explicitALUA is what hosts may do with that option, for help.
const explicitALUA = "hosts may ask for the gateway that serves a volume"

func (a *app) targetCreateCommand() *cobra.Command {
	o := &targetCreateOptions{}
	c := o.output.add(command("create IQN", "Create a target", `
Create a target without LUNs. Hosts that 'sango host allow' names may log in;
with --open every initiator may, if it knows one of the accounts given here.

With --explicit-alua hosts may have a volume served by the gateway of their
choice (SET TARGET PORT GROUPS), where several serve together.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return o.run(ctx, a, args[0])
	}))
	c.Flags().BoolVar(&o.open, "open", false, "every initiator may log in")
	c.Flags().BoolVar(&o.explicit, "explicit-alua", false, explicitALUA)
	o.accountFlags.add(c)
	return c
}

func (o *targetCreateOptions) run(ctx context.Context, a *app, name string) error {
	acc, err := o.accounts()
	if err != nil {
		return err
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.CreateTarget(ctx, connect.NewRequest(&v1.CreateTargetRequest{Name: name, Open: o.open, Accounts: acc, ExplicitAlua: o.explicit}))
	if err != nil {
		return err
	}
	a.say(o.output, "target %s created; 'sango target map %s VOLUME' gives it a LUN", resp.Msg.GetTarget().GetName(), resp.Msg.GetTarget().GetName())
	return a.object(o.output, viewTarget(resp.Msg.GetTarget()))
}

type targetListOptions struct{ output output }

func (a *app) targetListCommand() *cobra.Command {
	o := &targetListOptions{}
	return o.output.add(command("list", "List targets", "", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return o.run(ctx, a) }))
}

func (o *targetListOptions) run(ctx context.Context, a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.ListTargets(ctx, connect.NewRequest(&v1.ListTargetsRequest{}))
	if err != nil {
		return err
	}
	views := each(resp.Msg.GetTargets(), viewTarget)
	return a.print(o.output, views, func(w io.Writer) {
		rows := make([][]string, 0, len(views))
		for _, t := range views {
			rows = append(rows, []string{t.Name, strconv.Itoa(len(t.LUNs)), admitted(t), strconv.Itoa(len(t.Sessions))})
		}
		table(w, []string{"NAME", "LUNS", "HOSTS", "SESSIONS"}, rows)
	})
}

// admitted says who may log in to a target.
func admitted(t targetView) string {
	switch {
	case t.Open && len(t.Accounts) > 0:
		return "any with CHAP"
	case t.Open:
		return "any"
	}
	return dash(strings.Join(t.Hosts, ","))
}

type targetShowOptions struct{ output output }

func (a *app) targetShowCommand() *cobra.Command {
	o := &targetShowOptions{}
	return o.output.add(command("show IQN", "Show a target with its LUNs, portals and sessions", "", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
}

func (o *targetShowOptions) run(ctx context.Context, a *app, name string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.GetTarget(ctx, connect.NewRequest(&v1.GetTargetRequest{Name: name}))
	if err != nil {
		return err
	}
	t := viewTarget(resp.Msg.GetTarget())
	return a.print(o.output, t, func(w io.Writer) {
		fields(w, "name", t.Name, "hosts", admitted(t))
		if t.Explicit {
			fields(w, "explicit ALUA", "hosts may move volumes")
		}
		for _, acc := range t.Accounts {
			fields(w, "account", acc.User+mutual(acc))
		}
		for _, l := range t.LUNs {
			line := strconv.Itoa(int(l.LUN)) + ": " + l.Volume + ", " + size(l.Size)
			if len(l.Hosts) > 0 {
				line += ", for " + strings.Join(l.Hosts, ",")
			}
			fields(w, "LUN", line)
		}
		for _, p := range t.Portals {
			fields(w, "portal", p.Advertise+","+strconv.Itoa(int(p.Tag)))
		}
		for _, s := range t.Sessions {
			fields(w, "session", s.Initiator+" "+s.ISID+" from "+s.Remote)
		}
		fields(w, "not known", atGateways(t.Silent))
	})
}

// atGateways says whose sessions are not known.
func atGateways(silent []string) string {
	if len(silent) == 0 {
		return ""
	}
	return "the sessions at " + strings.Join(silent, ", ") + ", which did not answer"
}

func mutual(acc accountView) string {
	if acc.Mutual == "" {
		return ""
	}
	return " (mutual: " + acc.Mutual + ")"
}

type targetMapOptions struct {
	lun    int
	hosts  []string
	output output
}

func (a *app) targetMapCommand() *cobra.Command {
	o := &targetMapOptions{}
	c := o.output.add(command("map IQN VOLUME", "Show a volume to hosts as a LUN of a target", `
Put a volume at a LUN of a target. Hosts that are logged in are told, and find
it when they rescan.`, cobra.ExactArgs(2), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0], args[1]) }))
	c.Flags().IntVar(&o.lun, "lun", -1, "LUN, 0 to 16383 (default the lowest free one)")
	c.Flags().StringArrayVar(&o.hosts, "host", nil, "host that sees it; may be repeated (default every host of the target)")
	return c
}

func (o *targetMapOptions) run(ctx context.Context, a *app, target, volume string) error {
	req := &v1.MapVolumeRequest{Target: target, Volume: volume, Hosts: o.hosts}
	if o.lun != -1 {
		if o.lun < 0 || o.lun > int(san.MaxLUN) {
			return usage("LUN %d is out of range; use 0 to %d", o.lun, san.MaxLUN)
		}
		n := int32(o.lun)
		req.Lun = &n
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.MapVolume(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	a.say(o.output, "volume %s is LUN %d of %s", volume, resp.Msg.GetLun(), target)
	return a.object(o.output, mappingView{target, resp.Msg.GetLun()})
}

type targetUnmapOptions struct{ output output }

func (a *app) targetUnmapCommand() *cobra.Command {
	o := &targetUnmapOptions{}
	return o.output.add(command("unmap IQN LUN|VOLUME", "Take a LUN of a target away", `
Take a LUN away, by its number or by the name of its volume. Commands of hosts
that are under way end first; later ones get a clean error. The volume and its
data stay.`, cobra.ExactArgs(2), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0], args[1]) }))
}

func (o *targetUnmapOptions) run(ctx context.Context, a *app, target, which string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	lun, err := lunOf(ctx, cl, target, which)
	if err != nil {
		return err
	}
	if _, err := cl.UnmapVolume(ctx, connect.NewRequest(&v1.UnmapVolumeRequest{Target: target, Lun: lun})); err != nil {
		return err
	}
	a.say(o.output, "LUN %d of %s is gone", lun, target)
	return a.object(o.output, mappingView{target, lun})
}

// lunOf returns the LUN that a person means by its number, or by the name of its
// volume.
func lunOf(ctx context.Context, cl *api.Client, target, which string) (int32, error) {
	n, err := strconv.ParseUint(which, 10, 16)
	switch {
	case err == nil && n <= uint64(san.MaxLUN):
		return int32(n), nil
	case err == nil || san.CheckName("volume", which) != nil:
		return 0, usage("LUN %q: give a number from 0 to %d, or the name of a volume", which, san.MaxLUN)
	}
	resp, err := cl.GetTarget(ctx, connect.NewRequest(&v1.GetTargetRequest{Name: target}))
	if err != nil {
		return 0, err
	}
	for _, l := range resp.Msg.GetTarget().GetLuns() { // which has a volume once
		if l.GetVolume() == which {
			return l.GetLun(), nil
		}
	}
	return 0, san.Errorf(san.ErrNotFound, "target %s has no LUN of the volume %s; 'sango target show %s' lists what it has", target, which, target)
}

type targetDeleteOptions struct{ output output }

func (a *app) targetDeleteCommand() *cobra.Command {
	o := &targetDeleteOptions{}
	return o.output.add(command("delete IQN", "Delete a target that maps nothing", "", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
}

func (o *targetDeleteOptions) run(ctx context.Context, a *app, name string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := cl.DeleteTarget(ctx, connect.NewRequest(&v1.DeleteTargetRequest{Name: name})); err != nil {
		return err
	}
	a.say(o.output, "target %s deleted", name)
	return a.object(o.output, map[string]string{"deleted": name})
}
