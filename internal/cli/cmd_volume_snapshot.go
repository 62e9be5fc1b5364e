package cli

import (
	"context"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	v1 "sango/internal/api/gen/sango/v1"
)

// splitSnapshot takes VOLUME@SNAPSHOT apart.
func splitSnapshot(s string) (volume, snapshot string, err error) {
	volume, snapshot, _ = strings.Cut(s, "@")
	if volume == "" || snapshot == "" {
		return "", "", usage("%q: name a snapshot as VOLUME@SNAPSHOT", s)
	}
	return volume, snapshot, nil
}

type volumeSnapshotOptions struct{ output output }

func (a *app) volumeSnapshotCommand() *cobra.Command {
	o := &volumeSnapshotOptions{}
	return o.output.add(command("snapshot VOLUME NAME", "Freeze a volume as it is now under a name", `
Freeze a volume as it is now under a name, while hosts use it. It takes space as
the volume changes. 'sango volume delete VOLUME@NAME' gives it up again.`, cobra.RangeArgs(1, 2), func(ctx context.Context, args []string) error {
		if len(args) == 1 {
			volume, name, err := splitSnapshot(args[0])
			if err != nil {
				return err
			}
			args = []string{volume, name}
		}
		return o.run(ctx, a, args[0], args[1])
	}))
}

func (o *volumeSnapshotOptions) run(ctx context.Context, a *app, volume, name string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.CreateSnapshot(ctx, connect.NewRequest(&v1.CreateSnapshotRequest{Volume: volume, Snapshot: name}))
	if err != nil {
		return err
	}
	a.say(o.output, "snapshot %s@%s made", volume, name)
	return a.object(o.output, viewSnapshot(resp.Msg.GetSnapshot()))
}

type volumeCloneOptions struct{ output output }

func (a *app) volumeCloneCommand() *cobra.Command {
	o := &volumeCloneOptions{}
	return o.output.add(command("clone VOLUME@SNAPSHOT NEW", "Make a volume that starts from a snapshot", `
Make a writable volume that starts from a snapshot and shares its data with it.`, cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		return o.run(ctx, a, args[0], args[1])
	}))
}

func (o *volumeCloneOptions) run(ctx context.Context, a *app, from, name string) error {
	volume, snapshot, err := splitSnapshot(from)
	if err != nil {
		return err
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.CloneVolume(ctx, connect.NewRequest(&v1.CloneVolumeRequest{Volume: volume, Snapshot: snapshot, Name: name}))
	if err != nil {
		return err
	}
	a.say(o.output, "volume %s made from %s", name, from)
	return a.object(o.output, viewVolume(resp.Msg.GetVolume()))
}

type volumeRollbackOptions struct{ output output }

func (a *app) volumeRollbackCommand() *cobra.Command {
	o := &volumeRollbackOptions{}
	return o.output.add(command("rollback VOLUME@SNAPSHOT", "Put a volume back to a snapshot", `
Put a volume back to a snapshot. What was written since is lost, unless another
snapshot has it; snapshots stay. The volume must not be mapped, because hosts
would see their disk change under them.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return o.run(ctx, a, args[0])
	}))
}

func (o *volumeRollbackOptions) run(ctx context.Context, a *app, to string) error {
	volume, snapshot, err := splitSnapshot(to)
	if err != nil {
		return err
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := cl.RollbackVolume(ctx, connect.NewRequest(&v1.RollbackVolumeRequest{Volume: volume, Snapshot: snapshot})); err != nil {
		return err
	}
	a.say(o.output, "volume %s is as it was at %s", volume, snapshot)
	return a.object(o.output, map[string]string{"volume": volume, "snapshot": snapshot})
}
