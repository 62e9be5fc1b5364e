package cli

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
)

type gatewayDrainOptions struct {
	noWait bool
	output output
}

func (a *app) gatewayDrainCommand() *cobra.Command {
	o := &gatewayDrainOptions{}
	c := o.output.add(command("drain NAME", "Have a gateway emptied: its volumes move to others", `
Have a gateway emptied: its volumes move to other gateways, with hosts at work on
them, and it gets none until 'sango gateway undrain', not even after a restart.
The command shows how many it has still, and returns when it has none, unless
--no-wait is given. When it is interrupted, the draining goes on.

Do so before a gateway is stopped for long, or upgraded.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
	c.Flags().BoolVar(&o.noWait, "no-wait", false, "do not wait until it is empty")
	return c
}

func (o *gatewayDrainOptions) run(ctx context.Context, a *app, name string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	stream, err := cl.DrainGateway(ctx, connect.NewRequest(&v1.DrainGatewayRequest{Name: name, NoWait: o.noWait}))
	if err != nil {
		return api.FromWire(err)
	}
	defer stream.Close()
	p := a.steps(o.output, "emptying "+name)
	defer p.end()
	var left, most int
	for stream.Receive() {
		left = int(stream.Msg().GetVolumes())
		most = max(most, left)
		p.left(left, most)
	}
	p.end()
	if err := stream.Err(); err != nil {
		return api.FromWire(err)
	}
	if left == 0 {
		a.say(o.output, "gateway %s has no volumes, and gets none until 'sango gateway undrain %s'", name, name)
	} else {
		a.say(o.output, "gateway %s is being emptied, it has %d volumes still; 'sango status' shows how that goes", name, left)
	}
	if w := neededMember(ctx, cl, name); w != "" {
		fmt.Fprintln(a.err, w)
	}
	return a.object(o.output, map[string]any{"gateway": name, "volumes": left})
}

// neededMember warns of the stop of a gateway whose member of the metadata is
// needed for a majority. Where that can't be told it says nothing.
func neededMember(ctx context.Context, cl *api.Client, name string) string {
	resp, err := cl.GetCluster(ctx, connect.NewRequest(&v1.GetClusterRequest{}))
	if err != nil {
		return ""
	}
	return needed(resp.Msg.GetMembers(), name)
}

func needed(all []*v1.Member, name string) string {
	votes, silent, own := 0, 0, false
	for _, m := range all {
		switch m.GetState() {
		case "new", "learner":
			continue
		case "silent":
			silent++
		default:
			own = own || m.GetName() == name
		}
		votes++
	}
	if !own || votes < 2 || silent < (votes-1)/2 {
		return ""
	}
	return fmt.Sprintf("warning: of %d members of the metadata %d answer, and that of %s is needed: while it is stopped no gateway serves. Start the others first ('sango cluster members')", votes, votes-silent, name)
}

func (a *app) gatewayUndrainCommand() *cobra.Command {
	var o output
	return o.add(command("undrain NAME", "Let a gateway have volumes again", `
Let a gateway have volumes again that was drained. They come back by and by: those
that prefer it, and as many as the others have too much.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		if _, err := cl.UndrainGateway(ctx, connect.NewRequest(&v1.UndrainGatewayRequest{Name: args[0]})); err != nil {
			return err
		}
		a.say(o, "gateway %s may have volumes again", args[0])
		return a.object(o, map[string]any{"gateway": args[0]})
	}))
}

func (a *app) gatewayRemoveCommand() *cobra.Command {
	var o output
	return o.add(command("remove NAME", "Forget a gateway that is dead", `
Forget a gateway that is dead and does not come back: hosts are not told its
portals any more, and another machine may have its name. A gateway that is alive
is refused; stop it first.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		resp, err := cl.RemoveGateway(ctx, connect.NewRequest(&v1.RemoveGatewayRequest{Name: args[0]}))
		if err != nil {
			return err
		}
		a.say(o, "gateway %s removed", args[0])
		waiting := resp.Msg.GetVolumes()
		switch {
		case waiting > 0:
			a.say(o, "%d volumes of it go to others once it is certain that it can't write to them; if it is off, and that does not end, say so with 'sango gateway confirm-dead %s'", waiting, args[0])
		case resp.Msg.GetListed():
			a.say(o, "it is listed as removed until the coordinator has forgotten it; 'sango status' shows whether there is one")
		}
		return a.object(o, map[string]any{"gateway": args[0], "waiting": waiting, "listed": resp.Msg.GetListed()})
	}))
}

func (a *app) gatewayConfirmDeadCommand() *cobra.Command {
	var o output
	return o.add(command("confirm-dead NAME", "Say that a dead gateway is off for certain", `
Say that a gateway which was declared dead is off for certain: that no process of
it runs, and nothing of it can reach the disks any more. Its volumes are given to
others then, also those that nothing else could fence.

If that is not so, two gateways write to one volume, and destroy it. Look at the
machine, or turn it off, before you say so.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		before, err := cl.GetGateway(ctx, connect.NewRequest(&v1.GetGatewayRequest{Name: args[0]}))
		if err != nil {
			return err
		}
		if _, err := cl.ConfirmDeadGateway(ctx, connect.NewRequest(&v1.ConfirmDeadGatewayRequest{Name: args[0]})); err != nil {
			return err
		}
		its := "it has no volumes"
		if n := before.Msg.GetGateway().GetVolumes(); n > 0 {
			its = fmt.Sprintf("its volumes (%d) go to others", n)
		}
		a.say(o, "gateway %s counts as off; %s", args[0], its)
		return a.object(o, map[string]any{"gateway": args[0]})
	}))
}
