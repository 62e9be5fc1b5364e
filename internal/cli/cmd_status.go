package cli

import (
	"context"
	"io"
	"strconv"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	v1 "sango/internal/api/gen/sango/v1"
)

type statusOptions struct{ output output }

func (a *app) statusCommand() *cobra.Command {
	o := &statusOptions{}
	return o.output.add(command("status", "Show how the node is", `
Show how the node is: what it serves, its sessions and background work, the space
it has, and what is wrong with it.`, cobra.NoArgs, func(ctx context.Context, _ []string) error { return o.run(ctx, a) }))
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
		LUNs: m.GetLuns(), Sessions: m.GetSessions(), StoreFree: m.GetStoreFree(), StoreSize: m.GetStoreSize(), ClockJumps: m.GetClockJumps(),
		Problems: same(m.GetProblems()),
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
	return a.print(o.output, v, func(w io.Writer) {
		if v.Gateway != nil {
			fields(w, "gateway", v.Gateway.Name+", "+v.Gateway.State+" since "+when(v.Gateway.Started))
			for _, p := range v.Gateway.Portals {
				fields(w, "portal", p.Advertise)
			}
		}
		fields(w, "version", v.Version, "process", strconv.Itoa(int(v.PID)), "directory", v.Dir,
			"volumes", strconv.Itoa(int(v.Volumes)), "targets", strconv.Itoa(int(v.Targets)), "hosts", strconv.Itoa(int(v.Hosts)),
			"LUNs", strconv.Itoa(int(v.LUNs)), "sessions", strconv.Itoa(int(v.Sessions)),
			"space", size(v.StoreFree)+" free of "+size(v.StoreSize))
		for _, j := range v.Jobs {
			fields(w, j.Kind, j.Volume+"@"+j.Subject+", "+size(j.Done)+" of "+size(j.Total))
		}
		for _, p := range v.Problems {
			fields(w, "PROBLEM", p)
		}
	})
}
