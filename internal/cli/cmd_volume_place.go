package cli

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	v1 "sango/internal/api/gen/sango/v1"
)

func (a *app) volumeMoveCommand() *cobra.Command {
	var o output
	return o.add(command("move NAME GATEWAY", "Have another gateway execute the commands of a volume", `
Have another gateway execute the commands of a volume, and wait until it does.
Hosts reach the volume through all gateways before and after; their commands wait
for a moment. It stays there for some minutes at least, unless that gateway dies
or is drained.`, cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		resp, err := cl.MoveVolume(ctx, connect.NewRequest(&v1.MoveVolumeRequest{Volume: args[0], Gateway: args[1]}))
		if err != nil {
			return err
		}
		w := viewOwnership(resp.Msg.GetOwnership())
		a.say(o, "volume %s is served by gateway %s now, epoch %d", args[0], w.Owner, w.Epoch)
		return a.object(o, w)
	}))
}

type volumeSetOptions struct {
	prefer  []string
	any     bool
	fencing string
	output  output
}

func (a *app) volumeSetCommand() *cobra.Command {
	o := &volumeSetOptions{}
	c := o.output.add(command("set NAME", "Change which gateways are to serve a volume", `
Change which gateways are to serve a volume, where several serve together, and
how a gateway that is gone is kept from writing to it. What is not given stays.

--prefer names gateways, the best first: the volume moves to the first one that
serves, when that has been well for a minute. It is served by others still while
none of them is there.

--fencing says what has to be certain before another gateway gets the volume of a
dead one: driver (the driver shuts it out), command (the fence command of the
configuration has turned it off), none (a person has said so by 'sango gateway
confirm-dead'), or default: what the volume's driver can do.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
	c.Flags().StringSliceVar(&o.prefer, "prefer", nil, "gateways that are to serve it, the best first")
	c.Flags().BoolVar(&o.any, "prefer-any", false, "any gateway may serve it")
	c.Flags().StringVar(&o.fencing, "fencing", "", "driver, command, none or default")
	return c
}

func (o *volumeSetOptions) run(ctx context.Context, a *app, name string) error {
	req := &v1.SetVolumeRequest{Name: name}
	switch {
	case o.any && len(o.prefer) > 0:
		return usage("--prefer and --prefer-any exclude each other")
	case o.any || len(o.prefer) > 0:
		req.Prefer = &v1.Gateways{Names: o.prefer}
	case o.fencing == "":
		return usage("what is to change? give --prefer, --prefer-any or --fencing")
	}
	switch fencing := o.fencing; fencing {
	case "":
	case "default":
		fencing = ""
		req.Fencing = &fencing
	default:
		req.Fencing = &fencing
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.SetVolume(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	a.say(o.output, "volume %s changed", name)
	return a.object(o.output, viewVolume(resp.Msg.GetVolume()))
}
