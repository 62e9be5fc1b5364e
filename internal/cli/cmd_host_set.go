package cli

import (
	"context"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	v1 "sango/internal/api/gen/sango/v1"
)

type hostSetOptions struct {
	replacement
	from   []string
	any    bool
	output output
}

func (a *app) hostSetCommand() *cobra.Command {
	o := &hostSetOptions{}
	c := o.output.add(command("set NAME", "Change the CHAP accounts or the addresses of a host", `
Change the CHAP accounts of a host, or the addresses that it may come from. The
accounts given take the place of all that it had, and so do the addresses; what
is not given stays. Accounts hold from the next login on: sessions that are open
stay. To change a secret without a pause, give the account with the old one and
the account with the new one, let the host log in with the new one, and leave
the old one out.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
	c.Flags().StringArrayVar(&o.from, "from", nil, "source range that it may come from, as 10.0.0.0/24; may be repeated")
	c.Flags().BoolVar(&o.any, "from-any", false, "it may come from any address")
	o.add(c)
	return c
}

func (o *hostSetOptions) run(ctx context.Context, a *app, name string) error {
	req := &v1.SetHostRequest{Name: name}
	var err error
	if req.Accounts, err = o.replace(); err != nil {
		return err
	}
	switch {
	case o.any && len(o.from) > 0:
		return usage("--from-any and --from exclude each other")
	case o.any || len(o.from) > 0:
		req.Ranges = &v1.Ranges{Allowed: o.from}
	case req.Accounts == nil:
		return usage("what is to change? give accounts, --no-chap, --from or --from-any")
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.SetHost(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	a.say(o.output, "host %s changed", name)
	return a.object(o.output, viewHost(resp.Msg.GetHost()))
}
