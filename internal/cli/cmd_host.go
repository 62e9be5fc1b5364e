package cli

import (
	"context"
	"io"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	v1 "sango/internal/api/gen/sango/v1"
)

func (a *app) hostCommand() *cobra.Command {
	return noun("host", "Manage the hosts that consume volumes, or be one",
		a.hostCreateCommand(), a.hostSetCommand(), a.hostListCommand(), a.hostAllowCommand(), a.hostDenyCommand(), a.hostDeleteCommand(),
		a.hostRunCommand(), a.hostAttachmentsCommand())
}

type hostCreateOptions struct {
	accountFlags
	iqn    string
	from   []string
	output output
}

func (a *app) hostCreateCommand() *cobra.Command {
	o := &hostCreateOptions{}
	c := o.output.add(command("create NAME --iqn IQN", "Create a host", `
Create a host: the name of its initiator (on Linux in
/etc/iscsi/initiatorname.iscsi), the CHAP accounts any of which lets it in, and
the addresses that it may come from. Without accounts it logs in by its name
alone, which anybody can claim. Secrets are read from files and never shown.
'sango host allow' then opens targets to it.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
	c.Flags().StringVar(&o.iqn, "iqn", "", "iSCSI name of the host's initiator")
	c.Flags().StringArrayVar(&o.from, "from", nil, "source range that it may come from, as 10.0.0.0/24; may be repeated (default any)")
	o.accountFlags.add(c)
	return c
}

func (o *hostCreateOptions) run(ctx context.Context, a *app, name string) error {
	if o.iqn == "" {
		return usage("which initiator is host %s? give its iSCSI name with --iqn", name)
	}
	acc, err := o.accounts()
	if err != nil {
		return err
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.CreateHost(ctx, connect.NewRequest(&v1.CreateHostRequest{Host: &v1.Host{Name: name, Iqn: o.iqn, Allowed: o.from, Accounts: acc}}))
	if err != nil {
		return err
	}
	a.say(o.output, "host %s created; 'sango host allow %s TARGET' lets it log in", name, name)
	return a.object(o.output, viewHost(resp.Msg.GetHost()))
}

type hostListOptions struct{ output output }

func (a *app) hostListCommand() *cobra.Command {
	o := &hostListOptions{}
	return o.output.add(command("list", "List hosts", "", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return o.run(ctx, a) }))
}

func (o *hostListOptions) run(ctx context.Context, a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.ListHosts(ctx, connect.NewRequest(&v1.ListHostsRequest{}))
	if err != nil {
		return err
	}
	views := each(resp.Msg.GetHosts(), viewHost)
	return a.print(o.output, views, func(w io.Writer) {
		rows := make([][]string, 0, len(views))
		for _, h := range views {
			var users []string
			for _, acc := range h.Accounts {
				users = append(users, acc.User+mutual(acc))
			}
			rows = append(rows, []string{h.Name, h.IQN, dash(strings.Join(h.Allowed, ",")), dash(strings.Join(users, ",")), dash(strings.Join(h.Targets, ","))})
		}
		table(w, []string{"NAME", "INITIATOR", "FROM", "CHAP", "TARGETS"}, rows)
	})
}

type hostAllowOptions struct{ output output }

func (a *app) hostAllowCommand() *cobra.Command {
	o := &hostAllowOptions{}
	return o.output.add(command("allow HOST IQN", "Let a host log in to a target", "", cobra.ExactArgs(2),
		func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0], args[1]) }))
}

func (o *hostAllowOptions) run(ctx context.Context, a *app, host, target string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := cl.AllowHost(ctx, connect.NewRequest(&v1.AllowHostRequest{Host: host, Target: target})); err != nil {
		return err
	}
	a.say(o.output, "host %s may log in to %s", host, target)
	return a.object(o.output, map[string]string{"host": host, "target": target})
}

type hostDenyOptions struct{ output output }

func (a *app) hostDenyCommand() *cobra.Command {
	o := &hostDenyOptions{}
	return o.output.add(command("deny HOST IQN", "Take a host's right to log in to a target away", `
Take a host's right to log in to a target away. Its sessions there end at once.`, cobra.ExactArgs(2),
		func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0], args[1]) }))
}

func (o *hostDenyOptions) run(ctx context.Context, a *app, host, target string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := cl.DenyHost(ctx, connect.NewRequest(&v1.DenyHostRequest{Host: host, Target: target})); err != nil {
		return err
	}
	a.say(o.output, "host %s may not log in to %s any more", host, target)
	return a.object(o.output, map[string]string{"host": host, "target": target})
}

type hostDeleteOptions struct{ output output }

func (a *app) hostDeleteCommand() *cobra.Command {
	o := &hostDeleteOptions{}
	return o.output.add(command("delete NAME", "Delete a host that no target names", "", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
}

func (o *hostDeleteOptions) run(ctx context.Context, a *app, name string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := cl.DeleteHost(ctx, connect.NewRequest(&v1.DeleteHostRequest{Name: name})); err != nil {
		return err
	}
	a.say(o.output, "host %s deleted", name)
	return a.object(o.output, map[string]string{"deleted": name})
}
