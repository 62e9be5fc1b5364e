package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sango/internal/api"
	"sango/internal/gateway"
	"sango/internal/san"
)

// demoTarget is the target that a demo serves.
const demoTarget = "iqn.2026-11.io.sango:demo"

type demoOptions struct {
	accountFlags
	portals   []string
	advertise []string
	api       string
	volumes   []string
	readyFile string
	logLevel  string
	drill     bool
	output    output // of the drill
}

func (a *app) demoCommand() *cobra.Command {
	o := &demoOptions{}
	c := command("demo", "Serve volumes on this machine, all in one process", `
Serve volumes over iSCSI, all in one process: the target `+demoTarget+`
on every portal, each of which is a gateway of its own, the volumes at LUN 0, 1, ... in the order given. It runs until
it is interrupted or terminated. A later start on the same --dir serves what was
there; volumes that exist stay as they are, and ports may be others. Without
--dir it uses a temporary directory that goes with it. Without --volume it
serves what is there, or a new volume of 1G.

  sango demo --portals 127.0.0.1:3260 --volume disk=10G
  sango demo --dir /srv/demo --volume db=100G,block=4096 --volume iso=1G,read-only

Volume options are block=512|4096, physical=512|4096 (default 4096),
driver=layered|mem, read-only and removable.

When everything serves, the file named by --ready-file appears with
{"target","portals","luns":[{"lun","volume","size"}],"api","console","token"}.

--drill shows a fail-over instead, in a quarter of a minute: three gateways serve a
volume together, a host writes, the gateway that owns the volume is killed, and
everything is read back. Nothing is left of it. The exit status is 0 only if
nothing was lost; -o json prints what happened as one object.
`, cobra.NoArgs, nil)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.drill {
			return o.runDrill(cmd.Context(), a, cmd)
		}
		if cmd.Flags().Changed("output") {
			return usage("--output goes with --drill; what a demo serves is in its --ready-file")
		}
		return o.run(cmd.Context(), a)
	}
	o.output.add(c)
	p := c.Flags()
	p.StringSliceVar(&o.portals, "portals", []string{"127.0.0.1:0"}, "addresses to serve on, as IP:PORT,IP:PORT; port 0 takes a free one")
	p.StringSliceVar(&o.advertise, "advertise", nil, "addresses that hosts are told instead, one for each portal")
	p.StringVar(&o.api, "api", "", "address of the management API on the network; not served yet")
	p.StringArrayVar(&o.volumes, "volume", nil, "volume as `NAME=SIZE[,OPTION...]`; may be repeated")
	o.accountFlags.add(c)
	p.StringVar(&o.readyFile, "ready-file", "", "file that appears, by rename, when everything serves")
	p.BoolVar(&o.drill, "drill", false, "kill a gateway under load, and show what happens")
	p.StringVar(&o.logLevel, "log", "warn", "what to log: debug, info, warn or error")
	return c
}

// demoReady is the contents of the ready file.
type demoReady struct {
	Target  string            `json:"target"`
	Portals []string          `json:"portals"`
	LUNs    []gateway.DemoLUN `json:"luns"`
	API     string            `json:"api"`
	Console string            `json:"console"`
	Token   string            `json:"token"`
}

func (o *demoOptions) run(ctx context.Context, a *app) error {
	if o.api != "" {
		return usage("--api: the management API is not served on the network yet; leave it out: commands on this machine find the demo by --dir")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return usage("--log %s: use debug, info, warn or error", o.logLevel)
	}
	acc, err := o.accounts()
	if err != nil {
		return err
	}
	d := gateway.Demo{Target: demoTarget}
	for _, x := range acc {
		d.Auth = append(d.Auth, san.CHAP{User: x.GetUser(), Secret: string(x.GetSecret()), MutualUser: x.GetMutualUser(), MutualSecret: string(x.GetMutualSecret())})
	}
	seen := map[string]bool{}
	for _, s := range o.volumes {
		v, err := parseVolume(s)
		if err != nil {
			return err
		}
		if seen[v.Name] {
			return usage("--volume %s is there twice", v.Name)
		}
		seen[v.Name] = true
		d.Volumes = append(d.Volumes, v)
	}
	portals, err := o.parsePortals()
	if err != nil {
		return err
	}
	dir, temporary, err := a.demoDir()
	if err != nil {
		return err
	}
	if temporary {
		defer os.RemoveAll(dir)
	}
	if o.readyFile != "" {
		if err := withdraw(o.readyFile, dir); err != nil {
			return err
		}
	}
	cfg := gateway.Config{Name: "demo", Demo: true, Each: true, Dir: dir, Portals: portals, Version: a.version, Log: a.logger(level)}
	var luns []gateway.DemoLUN
	return serve(ctx, cfg, func(ctx context.Context, n *gateway.Node) error {
		if len(d.Volumes) == 0 {
			snap, err := n.Meta().Load(ctx)
			if err != nil {
				return err
			}
			if t := snap.Targets[demoTarget]; t == nil || len(t.LUNs) == 0 {
				v := &san.Volume{Name: "disk", Size: 1 << 30}
				api.Defaults(v)
				d.Volumes = []*san.Volume{v}
			}
		}
		var notes []string
		var err error
		luns, notes, err = n.Prepare(ctx, d)
		for _, note := range notes {
			fmt.Fprintln(a.err, "note:", note)
		}
		return err
	}, func(ctx context.Context, n *gateway.Node) error {
		if err := n.Ready(ctx); err != nil {
			return err
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		r := demoReady{Target: demoTarget, LUNs: luns, API: api.SocketPath(abs)}
		for _, p := range n.Portals() {
			r.Portals = append(r.Portals, p.Listen)
		}
		auth, err := demoAccounts(ctx, n)
		if err != nil {
			return err
		}
		a.greet(r, auth, len(acc) == 0, abs, temporary)
		if o.readyFile == "" {
			return nil
		}
		return appear(o.readyFile, r)
	})
}

// demoDir returns the directory to use, and whether it is a temporary one.
func (a *app) demoDir() (string, bool, error) {
	if a.dir != "" {
		return a.dir, false, nil
	}
	if d := os.Getenv("SANGO_DIR"); d != "" {
		return d, false, nil
	}
	d, err := os.MkdirTemp("", "sango-demo-")
	return d, true, err
}

// demoAccounts returns the accounts that the demo target asks for.
func demoAccounts(ctx context.Context, n *gateway.Node) ([]san.CHAP, error) {
	snap, err := n.Meta().Load(ctx)
	if err != nil {
		return nil, err
	}
	if t := snap.Targets[demoTarget]; t != nil {
		return t.Auth, nil
	}
	return nil, nil
}

// greet tells a newcomer how to go on. old says that the accounts are those
// of an earlier start.
func (a *app) greet(r demoReady, auth []san.CHAP, old bool, dir string, temporary bool) {
	fmt.Fprintf(a.out, "serving %s\n", r.Target)
	var users []string
	for _, c := range auth {
		users = append(users, c.User)
	}
	if len(users) > 0 {
		from := ""
		if old {
			from = "   (from an earlier start; 'sango target set " + r.Target + " --no-chap' ends that)"
		}
		fmt.Fprintf(a.out, "log in with CHAP as: %s%s\n", strings.Join(users, ", "), from)
	}
	for _, p := range r.Portals {
		for _, l := range r.LUNs {
			fmt.Fprintf(a.out, "  iscsi://%s/%s/%d  %s, %s\n", p, r.Target, l.LUN, l.Volume, size(l.Size))
		}
	}
	kept := ""
	if temporary {
		kept = "   (temporary: removed at the end; --dir keeps it)"
	}
	fmt.Fprintf(a.out, "manage it with: export SANGO_DIR=%s%s\nstop it with Ctrl-C\n", dir, kept)
}

// withdraw removes the ready file of an earlier demo in dir, which would lie.
// That of one which still serves dir stays.
func withdraw(path, dir string) error {
	if st, err := os.Stat(filepath.Dir(path)); err != nil || !st.IsDir() {
		return san.Errorf(san.ErrNotFound, "ready file %s: there is no directory %s", path, filepath.Dir(path))
	}
	lock, err := gateway.TakeLock(dir)
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}

// appear writes v as JSON to a file that appears with all its contents.
func appear(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}

// parsePortals pairs the addresses to serve on with those to tell. Their names
// are their positions: a portal stays the same target port on another address.
func (o *demoOptions) parsePortals() ([]gateway.Portal, error) {
	if len(o.advertise) > 0 && len(o.advertise) != len(o.portals) {
		return nil, usage("%d portals and %d addresses to advertise: give one for each portal", len(o.portals), len(o.advertise))
	}
	if len(o.portals) == 0 {
		return nil, usage("--portals: give at least one address, such as 127.0.0.1:3260")
	}
	var out []gateway.Portal
	for i, s := range o.portals {
		p := gateway.Portal{Name: "portal-" + strconv.Itoa(i+1), Listen: s}
		if err := gateway.CheckAddr(s, true); err != nil {
			return nil, fmt.Errorf("--portals: %w", err)
		}
		if len(o.advertise) > 0 {
			p.Advertise = o.advertise[i]
			if err := gateway.CheckAddr(p.Advertise, false); err != nil {
				return nil, fmt.Errorf("--advertise: %w", err)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// parseVolume reads NAME=SIZE[,OPTION...].
func parseVolume(s string) (*san.Volume, error) {
	name, rest, ok := strings.Cut(s, "=")
	if !ok {
		return nil, usage("--volume %q: write it as NAME=SIZE[,OPTION...], such as disk=10G,block=4096", s)
	}
	parts := strings.Split(rest, ",")
	v := &san.Volume{Name: name}
	var err error
	if v.Size, err = san.ParseSize(parts[0]); err != nil {
		return nil, fmt.Errorf("--volume %s: %w", name, err)
	}
	for _, opt := range parts[1:] {
		key, value, _ := strings.Cut(opt, "=")
		switch key {
		case "block":
			v.BlockSize, err = strconv.Atoi(value)
		case "physical":
			v.PhysicalBlock, err = strconv.Atoi(value)
		case "driver":
			v.Driver = value
		case "read-only":
			v.ReadOnly = true
		case "removable":
			v.Removable = true
		default:
			return nil, usage("--volume %s: option %q is unknown; there are block=, physical=, driver=, read-only and removable", name, opt)
		}
		if err != nil || (key == "read-only" || key == "removable") && value != "" {
			return nil, usage("--volume %s: option %q makes no sense", name, opt)
		}
	}
	api.Defaults(v)
	if err := v.Check(); err != nil {
		return nil, fmt.Errorf("--volume: %w", err)
	}
	return v, nil
}
