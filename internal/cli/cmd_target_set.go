package cli

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	v1 "sango/internal/api/gen/sango/v1"
)

type targetSetOptions struct {
	replacement
	explicit bool
	output   output
}

func (a *app) targetSetCommand() *cobra.Command {
	o := &targetSetOptions{}
	var c *cobra.Command
	c = o.output.add(command("set IQN", "Change a target", `
Change the CHAP accounts of a target that is open to every initiator. Those
given take the place of all that it had. They hold from the next login on:
sessions that are open stay. Hosts with accounts of their own ('sango host set')
use those everywhere.

--explicit-alua lets hosts have a volume served by the gateway of their choice,
where several serve together; --explicit-alua=false does not. They learn it when
they log in: what changes it ends the sessions of the target, and hosts come back
at once.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return o.run(ctx, a, args[0], c.Flags().Changed("explicit-alua"))
	}))
	c.Flags().BoolVar(&o.explicit, "explicit-alua", false, explicitALUA)
	o.add(c)
	return c
}

func (o *targetSetOptions) run(ctx context.Context, a *app, name string, explicit bool) error {
	req := &v1.SetTargetRequest{Name: name}
	var err error
	if req.Accounts, err = o.replace(); err != nil {
		return err
	}
	if explicit {
		req.ExplicitAlua = &o.explicit
	}
	if req.Accounts == nil && !explicit {
		return usage("what is to change? give accounts, --no-chap or --explicit-alua")
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.SetTarget(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	a.say(o.output, "target %s changed", resp.Msg.GetTarget().GetName())
	return a.object(o.output, viewTarget(resp.Msg.GetTarget()))
}
