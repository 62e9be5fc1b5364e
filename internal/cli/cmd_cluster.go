package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/gateway"
)

// clusterConfig is the part of a node's configuration that says where its
// metadata is.
const clusterConfig = `  cluster:                    # the metadata is one member of a cluster
    peer: 10.0.0.1:2380       # that the other members reach
    client: 10.0.0.1:2379     # for nodes that keep no member; may be left out
    members: [gw1=10.0.0.1:2380, gw2=10.0.0.2:2380, gw3=10.0.0.3:2380]
                              # all there are, at the first start; else alone
    join: true                # 'sango cluster add' made room for this one
    ca: ca.pem                # with cert and key: members show each other
    cert: gw1.pem             #   certificates; needed beyond loopback
    key: gw1.key
    insecure: false           # true: no certificates
    tick: 50ms                # between heartbeats of members
    election: 500ms           # silence after which there is another leader
  etcd:                       # or: the metadata is in an etcd of others
    endpoints: [https://10.0.0.9:2379]
    ca: ca.pem                # and cert, key where it asks for them
    user: sango               # with password_file, where it asks for them
    password_file: etcd.password
    insecure: false           # true: http beyond loopback
`

func (a *app) clusterCommand() *cobra.Command {
	return noun("cluster", "Manage where the metadata is kept: its members, backups of it",
		a.clusterMembersCommand(), a.clusterAddCommand(), a.clusterRemoveCommand(), a.clusterReleaseCommand(),
		a.clusterBackupCommand(), a.clusterRestoreCommand(), a.clusterWitnessCommand())
}

type clusterMembersOptions struct{ output output }

func (a *app) clusterMembersCommand() *cobra.Command {
	o := &clusterMembersOptions{}
	return o.output.add(command("members", "List the members that keep the metadata", `
List the members that keep the metadata, as the node that is asked sees them:
leader, follower, learner (it catches up), silent (it does not answer), new
(it was added and has never run), or not asked: a node without a member asks the
members that have a client address.`, cobra.NoArgs, func(ctx context.Context, _ []string) error { return o.run(ctx, a) }))
}

// clusterView is how a cluster is shown.
type clusterView struct {
	Form         string       `json:"form"` // alone, member or external
	Gateway      string       `json:"gateway,omitempty"`
	Schema       int          `json:"schema"`
	NewestSchema int          `json:"newest_schema"`
	Revision     int64        `json:"revision"`
	Members      []memberView `json:"members"`
}

type memberView struct {
	Name   string `json:"name"`
	ID     string `json:"id"`
	State  string `json:"state"`
	Peer   string `json:"peer,omitempty"`
	Client string `json:"client,omitempty"`
	Self   bool   `json:"self"`
}

func (o *clusterMembersOptions) run(ctx context.Context, a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.GetCluster(ctx, connect.NewRequest(&v1.GetClusterRequest{}))
	if err != nil {
		return err
	}
	m := resp.Msg
	view := clusterView{Form: m.GetForm(), Gateway: m.GetGateway(), Schema: int(m.GetSchema()), NewestSchema: int(m.GetNewestSchema()), Revision: m.GetRevision()}
	view.Members = each(m.GetMembers(), func(m *v1.Member) memberView {
		return memberView{m.GetName(), m.GetId(), m.GetState(), m.GetPeer(), m.GetClient(), m.GetSelf()}
	})
	return a.print(o.output, view, func(w io.Writer) {
		rows := make([][]string, 0, len(view.Members))
		for _, m := range view.Members {
			rows = append(rows, []string{dash(m.Name), memberState(m.State), dash(m.Peer), dash(m.Client), m.ID, yes(m.Self)})
		}
		table(w, []string{"NAME", "STATE", "PEER", "CLIENT", "ID", "SELF"}, rows)
	})
}

// memberState is the state of a member for people.
func memberState(s string) string {
	if s == "unasked" {
		return "not asked (no client address)"
	}
	return s
}

func (a *app) clusterAddCommand() *cobra.Command {
	o := output("")
	return o.add(command("add NAME IP:PORT", "Make room for another metadata member", `
Make room for another metadata member, which the others reach at IP:PORT, and
print what its configuration has to say. It has no vote until it has started
and caught up; the next one can be added then. Three members survive the loss
of one, five of two; two or four survive no more than one or three.`, cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		resp, err := cl.AddMember(ctx, connect.NewRequest(&v1.AddMemberRequest{Name: args[0], Peer: args[1]}))
		if err != nil {
			return err
		}
		view := struct {
			Name    string   `json:"name"`
			Peer    string   `json:"peer"`
			Members []string `json:"members"`
		}{args[0], args[1], resp.Msg.GetMembers()}
		return a.print(o, view, func(w io.Writer) {
			fmt.Fprintf(w, "start the node %s with this in its configuration, and dir, and ca, cert and key as the others have them;\n", view.Name)
			fmt.Fprintf(w, "a gateway also needs portals, and volumes, write_through, fence and ttl as the others have them:\n\n")
			fmt.Fprintf(w, "name: %s\ncluster:\n  peer: %s\n  join: true\n  members: [%s]\n\n", view.Name, view.Peer, strings.Join(view.Members, ", "))
			fmt.Fprintf(w, "The configurations of the others stay as they are. If %s is wrong: 'sango cluster remove %s', and add it anew.\n", view.Peer, view.Name)
		})
	}))
}

func (a *app) clusterRemoveCommand() *cobra.Command {
	return command("remove NAME", "Take a metadata member out for good", `
Take a metadata member out for good, dead or alive, by its name, its id or its
peer address. If it runs, its node ends. It can't come back with the directory
that it has.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		if _, err := cl.RemoveMember(ctx, connect.NewRequest(&v1.RemoveMemberRequest{Name: args[0]})); err != nil {
			return err
		}
		a.say(outputTable, "metadata member %s removed", args[0])
		return nil
	})
}

func (a *app) clusterReleaseCommand() *cobra.Command {
	var config string
	c := command("release GATEWAY", "Let another gateway serve the volumes", `
Let another gateway serve the volumes of this metadata, because the one that did
is gone for good. If it runs still, it stops. The bytes of its volumes are where
they were: in its directory.

A witness or another node of the cluster is asked by --dir. Where the metadata
is in an etcd of others, --config names a configuration with that etcd, of a
node that does not run.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		if config != "" {
			cfg, level, err := gateway.ReadNodeConfig(config)
			if err != nil {
				return err
			}
			cfg.Log = a.logger(level)
			return gateway.Release(ctx, cfg, args[0])
		}
		cl, err := a.client()
		if err != nil {
			return err
		}
		defer cl.Close()
		_, err = cl.ReleaseGateway(ctx, connect.NewRequest(&v1.ReleaseGatewayRequest{Name: args[0]}))
		return err
	})
	c.Flags().StringVar(&config, "config", "", "configuration file of a node that does not run")
	return c
}

func (a *app) clusterWitnessCommand() *cobra.Command {
	var config string
	c := command("witness --config FILE", "Keep a metadata member without serving volumes", `
Keep a member of the metadata cluster without serving volumes, until it is
terminated. The configuration is that of 'sango gateway run', without portals:

  name: w1
  dir: /var/lib/sango-witness
`+clusterConfig, cobra.NoArgs, func(ctx context.Context, _ []string) error {
		if config == "" {
			return usage("which configuration? give it with --config FILE")
		}
		cfg, level, err := gateway.ReadWitnessConfig(config)
		if err != nil {
			return err
		}
		cfg.Version, cfg.Log = a.version, a.logger(level)
		return keep(ctx, cfg, func(ctx context.Context) (running, error) {
			w, err := gateway.OpenWitness(ctx, cfg)
			if err != nil {
				return nil, err
			}
			cfg.Log.Info("keeping metadata", "member", cfg.Name, "peer", cfg.Meta.Member.Peer)
			return w, nil
		})
	})
	c.Flags().StringVar(&config, "config", "", "configuration file")
	return c
}
