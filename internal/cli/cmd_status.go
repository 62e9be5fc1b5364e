package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/san"
)

type statusOptions struct {
	paths  bool
	output output
}

func (a *app) statusCommand() *cobra.Command {
	o := &statusOptions{}
	c := o.output.add(command("status", "Show how the node is", `
Show how the node is: what it serves, its sessions and background work, the space
it has, and what is wrong with it. Where several gateways serve together also
which there are, who coordinates, and which gateway has which volume: under
which epoch, since when and why. Where the metadata does not answer, a gateway of
several shows what it knew last; the exit status is 5 then.

--paths also shows the paths that hosts have: the sessions of each gateway, how
many hosts reach each volume through which gateways, in which state, and which
hosts lack a path. A witness does not know them.`, cobra.NoArgs, func(ctx context.Context, _ []string) error { return o.run(ctx, a) }))
	c.Flags().BoolVar(&o.paths, "paths", false, "show the paths of hosts too")
	return c
}

func (o *statusOptions) run(ctx context.Context, a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.GetStatus(ctx, connect.NewRequest(&v1.GetStatusRequest{}))
	if err != nil {
		return err
	}
	m := resp.Msg
	v := statusView{
		Version: m.GetVersion(), PID: m.GetPid(), Dir: m.GetDir(), Volumes: m.GetVolumes(), Targets: m.GetTargets(), Hosts: m.GetHosts(),
		LUNs: m.GetLuns(), Sessions: m.GetSessions(), StoreFree: m.GetStoreFree(), StoreSize: m.GetStoreSize(), DirFree: m.GetDirFree(), DirSize: m.GetDirSize(), ClockJumps: m.GetClockJumps(),
		Problems: same(m.GetProblems()), Old: m.GetOld(),
		Jobs: each(m.GetJobs(), func(j *v1.VolumeJob) jobView {
			w := viewJob(j.GetJob())
			w.Volume = j.GetVolume()
			return w
		}),
	}
	if m.GetGateway() != nil {
		g := viewGateway(m.GetGateway())
		v.Gateway = &g
	}
	if c := m.GetCluster(); c != nil {
		v.Coordinator, v.Moving = c.GetCoordinator(), &c.Moving
		if l := c.GetLayout(); l != nil {
			v.Layout = &layoutView{l.GetVersion(), l.GetNewest(), l.GetWaitsFor()}
		}
		v.Gateways, v.Owners = each(c.GetGateways(), viewGateway), each(c.GetVolumes(), viewOwnership)
	}
	if o.paths {
		if v.Moving == nil {
			return usage("--paths is for gateways that serve together; 'sango target show' has the sessions of one that is alone")
		}
		if v.Old == "" {
			if err := askPaths(ctx, cl, &v); err != nil {
				return err
			}
		}
	}
	if err := a.print(o.output, v, func(w io.Writer) { statusTable(w, v) }); err != nil {
		return err
	}
	return outdated(v.Old)
}

// outdated is the end of a command that has shown what a gateway knew last.
func outdated(why string) error {
	if why == "" {
		return nil
	}
	return san.Errorf(san.ErrUnavailable, "what is shown is what this gateway knew last, and may be old: %s", why)
}

func statusTable(w io.Writer, v statusView) {
	var all []string
	if v.Gateway != nil {
		all = append(all, "gateway", v.Gateway.Name+", "+v.Gateway.State+"; started "+when(v.Gateway.Started))
		for _, p := range v.Gateway.Portals {
			all = append(all, "portal", p.Advertise)
		}
	}
	dir := v.Dir
	if v.DirSize != 0 {
		dir += ", " + size(v.DirFree) + " free of " + size(v.DirSize)
	}
	all = append(all, "version", v.Version, "process", strconv.Itoa(int(v.PID)), "directory", dir,
		"volumes", strconv.Itoa(int(v.Volumes)), "targets", strconv.Itoa(int(v.Targets)), "hosts", strconv.Itoa(int(v.Hosts)),
		"LUNs", strconv.Itoa(int(v.LUNs)), "sessions", strconv.Itoa(int(v.Sessions)),
		"space", size(v.StoreFree)+" free of "+size(v.StoreSize))
	for _, j := range v.Jobs {
		all = append(all, j.Kind, j.Volume+"@"+j.Subject+", "+size(j.Done)+" of "+size(j.Total))
	}
	if v.Moving != nil {
		all = append(all, togetherFields(v)...)
	}
	fields(w, all...)
	for _, p := range v.Problems {
		fields(w, "PROBLEM", p)
	}
	if v.Moving != nil {
		togetherTable(w, v)
	}
	if v.Paths != nil {
		pathsTable(w, v.Paths)
	}
}

// togetherFields are what there is once of all gateways.
func togetherFields(v statusView) []string {
	coordinator := v.Coordinator
	if coordinator == "" {
		coordinator = "nobody at the moment"
	}
	layout := ""
	if l := v.Layout; l != nil && len(l.WaitsFor) > 0 {
		layout = fmt.Sprintf("layout %d; the next when %s know it too, or are removed", l.Version, strings.Join(l.WaitsFor, ", "))
	}
	return []string{"coordinator", coordinator, "versions", mixed(v.Gateways), "metadata", layout}
}

// manyVolumes is how many volumes a table shows one by one. Of more, it shows
// those that are not served.
const manyVolumes = 50

// togetherTable shows what concerns all gateways.
func togetherTable(w io.Writer, v statusView) {
	fmt.Fprintln(w)
	gatewayTable(w, v.Gateways)
	shown := v.Owners
	if len(shown) > manyVolumes {
		shown = slices.DeleteFunc(slices.Clone(shown), func(o ownershipView) bool { return o.State == "active" })
	}
	if len(shown) > 0 {
		rows := make([][]string, 0, len(shown))
		for _, o := range shown {
			rows = append(rows, []string{o.Volume, owned(&o), strconv.FormatUint(o.Epoch, 10), dash(when(o.Since)), dash(because(o))})
		}
		fmt.Fprintln(w)
		table(w, []string{"VOLUME", "OWNER", "EPOCH", "SINCE", "BECAUSE"}, rows)
	}
	if n := len(v.Owners) - len(shown); n > 0 {
		fmt.Fprintf(w, "%d volumes more are served; 'sango volume list' has all of them\n", n)
	}
	lost, why := map[string]int{}, map[string][]string{}
	for _, o := range shown {
		if o.State == "lost" {
			lost[o.Owner]++
			if o.Problem != "" && !slices.Contains(why[o.Owner], o.Problem) {
				why[o.Owner] = append(why[o.Owner], o.Problem)
			}
			continue
		}
		if t := trouble(o); t != "" {
			fields(w, "PROBLEM", "volume "+o.Volume+": "+t+retried(o))
		}
	}
	for _, g := range slices.Sorted(maps.Keys(lost)) {
		fields(w, "PROBLEM", fmt.Sprintf("gateway %s is dead, and its volumes (%d) wait until it is certain that it can't write%s; if that does not end and it is off, say so with 'sango gateway confirm-dead %s'", g, lost[g], reasonsOf(why[g]), g))
	}
}

// manyReasons is how many reasons are told of what one thing causes.
const manyReasons = 3

// reasonsOf are the reasons why volumes wait, which differ where they are fenced
// by different means.
func reasonsOf(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all[:min(len(all), manyReasons)], "; ") + ")"
}

// mixed says which gateways run which version, where there is more than one.
func mixed(all []gatewayView) string {
	runs := map[string][]string{}
	for _, g := range all {
		if g.State != "dead" && g.State != "removed" {
			runs[g.Version] = append(runs[g.Version], g.Name)
		}
	}
	if len(runs) < 2 {
		return ""
	}
	var s []string
	for _, version := range slices.Sorted(maps.Keys(runs)) {
		s = append(s, dash(version)+" ("+strings.Join(runs[version], ", ")+")")
	}
	return "mixed: " + strings.Join(s, ", ")
}

// owned says who has a volume.
func owned(o *ownershipView) string {
	if o == nil {
		return "-"
	}
	switch o.State {
	case "active":
		return o.Owner
	case "moving":
		return o.Owner + "→" + o.To
	case "released":
		return "→" + o.To
	case "lost":
		return o.Owner + " (dead)"
	}
	return "-"
}

// reasons say why a volume has the owner that it has.
var reasons = map[string]string{
	"new": "nobody had it", "dead": "the owner before died", "drain": "the owner before was drained", "balance": "the owner before had more to do",
	"failback": "this gateway is preferred, and well again", "asked": "a host asked for it", "left": "the owner before was stopped",
	"failed": "it could not be opened, or failed",
}

// because says why a volume was given to whom it was given last.
func because(o ownershipView) string {
	if o.Reason == "asked" && o.Asked == administrator {
		return "an administrator asked for it"
	}
	if text := reasons[o.Reason]; text != "" {
		return text
	}
	return o.Reason
}

// administrator is who asked where it was no host.
const administrator = "administrator"

// retried says what becomes of a volume that could not be opened.
func retried(o ownershipView) string {
	if o.State != "none" {
		return ""
	}
	return "; it is tried again, with pauses of up to a minute ('sango doctor' says what to do)"
}

// trouble says why a volume could not be opened, last time.
func trouble(o ownershipView) string {
	if o.Failed == "" {
		return ""
	}
	text := fmt.Sprintf("gateway %s could not open it", o.Failed)
	if o.Problem != "" {
		text += ": " + o.Problem
	}
	return text
}
