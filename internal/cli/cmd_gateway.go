package cli

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/gateway"
	"sango/internal/meta"
)

func (a *app) gatewayCommand() *cobra.Command {
	return noun("gateway", "Run a node, see which there are, empty and remove them",
		a.gatewayRunCommand(), a.gatewayListCommand(), a.gatewayShowCommand(),
		a.gatewayDrainCommand(), a.gatewayUndrainCommand(), a.gatewayRemoveCommand(), a.gatewayConfirmDeadCommand())
}

type gatewayRunOptions struct {
	config string
	etcd   []string
}

func (a *app) gatewayRunCommand() *cobra.Command {
	o := &gatewayRunOptions{}
	c := command("run --config FILE", "Run one node", `
Run one node until it is terminated. The configuration is YAML or JSON:

  name: gw1                   # default: the machine's name
  dir: /var/lib/sango         # holds everything
  log: info                   # debug, info, warn or error
  portals:
    - listen: 10.0.0.1:3260
    - name: b                 # the portal's identity; default: its address
      listen: 0.0.0.0:3261
      advertise: 192.0.2.7:3261
  limits:                     # each may be left out
    connections: 1024
    sessions_per_host: 64
    logins: 256               # connections that log in, or only discover
    logins_per_address: 64    # of those, from one address
    memory: 2G                # task data in all
    host_memory: 1G           # task data of one initiator name
    connection_memory: 256M   # task data of one connection
    background: 200M          # merge, sanitize and copy, bytes a second and volume
    mem_volume: 4G            # memory of one mem volume
  iscsi:                      # each may be left out
    nop_interval: 1s          # between two pings of a connection
    nop_timeout: 3500ms       # for the answer; both together are 3s to 5s
    max_age: 3s               # a command older than that is not executed
    login_timeout: 15s
    drain_time: 5s            # for initiators to log out when the node stops
    window: 128               # commands that a session may have outstanding
    max_recv_data_segment: 256K
    first_burst: 256K
    max_burst: 1M
    outstanding_r2t: 8
    immediate_data: true
    initial_r2t: false        # true: no unsolicited data but immediate data
    discovery_chap: false     # true: no discovery without CHAP
`+clusterConfig+`
  volumes: /mnt/volumes       # directory of the volumes, which all gateways share;
                              #   without cluster and etcd it may be left out
  write_through: false        # true: writes are on the disk before they are
                              #   answered; needed with gateways of several machines
  relay:                      # where other gateways reach this one
    listen: 10.0.0.1:3262     # for commands of hosts; default: address of the
                              #   first portal; with loopback a free port
    manage: 10.0.0.1:3263     # for management; default: the next port
    advertise: 192.0.2.7:3262 # where they reach it by another address; and
                              #   advertise_manage
    ca: ca.pem                # with cert and key; default: those of cluster
    insecure: false           # true: no certificates; default: as in cluster
  ttl: 3s                     # how long a heartbeat of a gateway counts
  fence: [/usr/local/sbin/power-off]
                              # turns a gateway off: $SANGO_FENCE_GATEWAY

Without cluster and etcd the metadata is in the directory, no port is opened for
it, and the gateway serves alone. With them, all gateways of one metadata serve
together.

SIGTERM asks initiators to log out, and ends it within 10 seconds.
--dir and $SANGO_DIR do not replace the directory of the file.`, cobra.NoArgs, func(ctx context.Context, _ []string) error { return o.run(ctx, a) })
	c.Flags().StringVar(&o.config, "config", "", "configuration file")
	c.Flags().StringSliceVar(&o.etcd, "etcd", nil, "keep the metadata in the etcd at `URL[,URL]`, in place of the file's endpoints")
	return c
}

func (o *gatewayRunOptions) run(ctx context.Context, a *app) error {
	if o.config == "" {
		return usage("which configuration? give it with --config FILE")
	}
	cfg, level, err := gateway.ReadConfig(o.config)
	if err != nil {
		return err
	}
	if len(o.etcd) > 0 {
		if cfg.Meta.External == nil {
			cfg.Meta.External = &meta.External{}
		}
		cfg.Meta.External.Endpoints = o.etcd
	}
	cfg.Version, cfg.Log = a.version, a.logger(level)
	nothing := func(context.Context, *gateway.Node) error { return nil }
	return serve(ctx, cfg, nothing, func(_ context.Context, n *gateway.Node) error {
		for _, p := range n.Portals() {
			cfg.Log.Info("serving", "portal", p.Listen, "advertised", p.Advertise, "tag", int(p.TPG))
		}
		return nil
	})
}

type gatewayListOptions struct{ output output }

func (a *app) gatewayListCommand() *cobra.Command {
	o := &gatewayListOptions{}
	return o.output.add(command("list", "List gateways", "", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return o.run(ctx, a) }))
}

func (o *gatewayListOptions) run(ctx context.Context, a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.ListGateways(ctx, connect.NewRequest(&v1.ListGatewaysRequest{}))
	if err != nil {
		return err
	}
	views := each(resp.Msg.GetGateways(), viewGateway)
	if err := a.print(o.output, views, func(w io.Writer) { gatewayTable(w, views) }); err != nil {
		return err
	}
	return outdated(resp.Msg.GetOld())
}

// gatewayTable shows gateways, with what concerns others where there are any.
func gatewayTable(w io.Writer, all []gatewayView) {
	together := slices.ContainsFunc(all, func(g gatewayView) bool { return g.Incarnation != 0 })
	head := []string{"NAME", "STATE", "PORTALS", "STARTED"}
	if together {
		head = []string{"NAME", "STATE", "VOLUMES", "LOAD", "INCARNATION", "VERSION", "PORTALS", "STARTED", "NOTES"}
	}
	rows := make([][]string, 0, len(all))
	for _, g := range all {
		var portals []string
		for _, p := range g.Portals {
			portals = append(portals, p.Advertise)
		}
		row := []string{g.Name, g.State, dash(strings.Join(portals, ",")), dash(when(g.Started))}
		if together {
			volumes := "-"
			if g.Volumes != nil {
				volumes = strconv.Itoa(int(*g.Volumes))
			}
			load := "-"
			if g.Load != nil {
				load = strconv.FormatInt(*g.Load, 10)
			}
			row = slices.Insert(row, 2, volumes, load, strconv.FormatUint(g.Incarnation, 10), dash(g.Version))
			row = append(row, dash(remarks(g)))
		}
		rows = append(rows, row)
	}
	table(w, head, rows)
}

// deaths says why gateways are dead.
var deaths = map[string]string{
	"silent": "no heartbeat came", "suspected": "most others did not reach it", "left": "it was stopped",
}

// remarks says what else there is to know of a gateway.
func remarks(g gatewayView) string {
	var s []string
	if g.Coordinator {
		s = append(s, "coordinates")
	}
	if why := g.Reason; why != "" {
		if text := deaths[why]; text != "" {
			why = text
		}
		s = append(s, why)
	}
	// Where no volume waits for it nobody has to see to that.
	if (g.State == "dead" || g.State == "removed") && !g.Harmless && g.Volumes != nil && *g.Volumes > 0 {
		s = append(s, "may not be off")
	}
	if g.Drained && g.State != "draining" {
		s = append(s, "to stay empty")
	}
	return strings.Join(s, ", ")
}

type gatewayShowOptions struct{ output output }

func (a *app) gatewayShowCommand() *cobra.Command {
	o := &gatewayShowOptions{}
	return o.output.add(command("show NAME", "Show a gateway with its portals and sessions", "", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
}

func (o *gatewayShowOptions) run(ctx context.Context, a *app, name string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.GetGateway(ctx, connect.NewRequest(&v1.GetGatewayRequest{Name: name}))
	if err != nil {
		return err
	}
	g := viewGateway(resp.Msg.GetGateway())
	return a.print(o.output, g, func(w io.Writer) {
		fields(w, "name", g.Name, "state", g.State, "port group", strconv.Itoa(int(g.Group)), "started", when(g.Started))
		if g.Volumes != nil {
			fields(w, "volumes", strconv.Itoa(int(*g.Volumes)), "incarnation", strconv.FormatUint(g.Incarnation, 10), "notes", remarks(g),
				"version", g.Version, "sessions", unknown(g.Silent))
		}
		for _, p := range g.Portals {
			line := p.Listen + ", tag " + strconv.Itoa(int(p.Tag))
			if p.Advertise != p.Listen {
				line += ", advertised as " + p.Advertise
			}
			fields(w, "portal", line)
		}
		for _, s := range g.Sessions {
			fields(w, "session", s.Initiator+" "+s.ISID+" from "+s.Remote+" at "+s.Target)
		}
	})
}

// unknown says that something is not known, and why.
func unknown(why string) string {
	if why == "" {
		return ""
	}
	return "not known: " + why
}
