package cli

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/san"
)

func (a *app) volumeCommand() *cobra.Command {
	return noun("volume", "Manage volumes, their snapshots and clones",
		a.volumeCreateCommand(), a.volumeListCommand(), a.volumeShowCommand(), a.volumeResizeCommand(), a.volumeSetCommand(), a.volumeDeleteCommand(),
		a.volumeSnapshotCommand(), a.volumeCloneCommand(), a.volumeRollbackCommand(), a.volumeMoveCommand(),
		a.volumeImportCommand(), a.volumeExportCommand(), a.volumeCheckCommand())
}

// volumeFlags are what a new volume is to be like.
type volumeFlags struct {
	size      string
	block     int
	physical  int
	driver    string
	readOnly  bool
	removable bool
}

func (f *volumeFlags) add(c *cobra.Command) {
	p := c.Flags()
	p.StringVar(&f.size, "size", "", "size, with K, M, G or T")
	p.IntVar(&f.block, "block", san.BlockSize512, "block size that hosts see: 512 or 4096")
	p.IntVar(&f.physical, "physical", san.BlockSize4096, "physical block size that hosts are told: 512 or 4096")
	p.StringVar(&f.driver, "driver", san.DriverLayered, "layered (files) or mem (memory, gone at the end)")
	p.BoolVar(&f.readOnly, "read-only", false, "hosts can't write")
	p.BoolVar(&f.removable, "removable", false, "a medium that hosts can eject")
}

// spec checks the flags and returns the volume that they describe.
func (f *volumeFlags) spec(name string, bytes int64) (*v1.VolumeSpec, error) {
	v := san.Volume{Name: name, Size: bytes, Driver: f.driver, BlockSize: f.block, PhysicalBlock: f.physical, ReadOnly: f.readOnly, Removable: f.removable}
	if err := v.Check(); err != nil {
		return nil, err
	}
	return &v1.VolumeSpec{
		Name: v.Name, Size: v.Size, Driver: v.Driver, BlockSize: int32(v.BlockSize), PhysicalBlock: int32(v.PhysicalBlock),
		ReadOnly: v.ReadOnly, Removable: v.Removable,
	}, nil
}

type volumeCreateOptions struct {
	volumeFlags
	adopt  string
	output output
}

func (a *app) volumeCreateCommand() *cobra.Command {
	o := &volumeCreateOptions{}
	c := o.output.add(command("create NAME --size SIZE", "Create a volume", `
Create an empty volume. It takes space as it is written to. With --adopt it
starts as an existing raw file or block device, which must not be changed by
others from then on.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
	o.volumeFlags.add(c)
	c.Flags().StringVar(&o.adopt, "adopt", "", "raw file or block device to start from")
	return c
}

func (o *volumeCreateOptions) run(ctx context.Context, a *app, name string) error {
	var bytes int64
	var err error
	if o.size != "" {
		if bytes, err = san.ParseSize(o.size); err != nil {
			return err
		}
	} else if o.adopt == "" {
		return usage("how large is volume %s to be? give --size, such as --size 10G", name)
	}
	probe := bytes
	if o.adopt != "" && probe == 0 {
		probe = int64(max(o.block, 1)) // the node looks how large it is
	}
	spec, err := o.spec(name, probe)
	if err != nil {
		return err
	}
	if o.adopt != "" {
		if o.adopt, err = filepath.Abs(o.adopt); err != nil {
			return err
		}
	}
	spec.Size, spec.Adopt = bytes, o.adopt
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.CreateVolume(ctx, connect.NewRequest(&v1.CreateVolumeRequest{Spec: spec}))
	if err != nil {
		return err
	}
	v := resp.Msg.GetVolume()
	a.say(o.output, "volume %s created, %s; 'sango target map TARGET %s' shows it to hosts", name, size(v.GetSize()), name)
	return a.object(o.output, viewVolume(v))
}

// object prints a result for programs; people have been told in a sentence.
func (a *app) object(o output, v any) error { return a.print(o, v, func(io.Writer) {}) }

type volumeListOptions struct{ output output }

func (a *app) volumeListCommand() *cobra.Command {
	o := &volumeListOptions{}
	return o.output.add(command("list", "List volumes", "", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return o.run(ctx, a) }))
}

func (o *volumeListOptions) run(ctx context.Context, a *app) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.ListVolumes(ctx, connect.NewRequest(&v1.ListVolumesRequest{}))
	if err != nil {
		return err
	}
	views := each(resp.Msg.GetVolumes(), viewVolume)
	return a.print(o.output, views, func(w io.Writer) {
		head := []string{"NAME", "SIZE", "USED", "BLOCK", "DRIVER", "SNAPSHOTS", "MAPPED", "NOTES"}
		together := slices.ContainsFunc(views, func(v volumeView) bool { return v.Ownership != nil })
		if together {
			head = slices.Insert(head, 3, "OWNER", "EPOCH")
		}
		rows := make([][]string, 0, len(views))
		for _, v := range views {
			snapshots := strconv.Itoa(len(v.Snapshots))
			if v.Silent != "" {
				snapshots = "?"
			}
			row := []string{v.Name, size(v.Size), known(v.Used), strconv.Itoa(int(v.BlockSize)), v.Driver, snapshots, dash(mappings(v)), dash(traits(v))}
			if together {
				row = slices.Insert(row, 3, owned(v.Ownership), strconv.FormatUint(v.Epoch, 10))
			}
			rows = append(rows, row)
		}
		table(w, head, rows)
	})
}

// known is a size that may not be known.
func known(n *int64) string {
	if n == nil {
		return "?"
	}
	return size(*n)
}

func mappings(v volumeView) string {
	var s []string
	for _, m := range v.Mappings {
		s = append(s, m.Target+":"+strconv.Itoa(int(m.LUN)))
	}
	return strings.Join(s, ",")
}

func traits(v volumeView) string {
	var s []string
	if v.ReadOnly {
		s = append(s, "read-only")
	}
	if v.Removable {
		s = append(s, "removable")
	}
	for _, j := range v.Jobs {
		s = append(s, j.Kind)
	}
	if v.Problem != "" {
		s = append(s, "FAILED")
	}
	if v.Silent != "" {
		s = append(s, "SILENT")
	}
	return strings.Join(s, ",")
}

type volumeShowOptions struct{ output output }

func (a *app) volumeShowCommand() *cobra.Command {
	o := &volumeShowOptions{}
	return o.output.add(command("show NAME", "Show a volume with its snapshots and mappings", "", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
}

func (o *volumeShowOptions) run(ctx context.Context, a *app, name string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.GetVolume(ctx, connect.NewRequest(&v1.GetVolumeRequest{Name: name}))
	if err != nil {
		return err
	}
	v := viewVolume(resp.Msg.GetVolume())
	return a.print(o.output, v, func(w io.Writer) {
		fields(w, "name", v.Name, "id", v.ID, "naa", v.NAA, "driver", v.Driver, "size", size(v.Size), "used", known(v.Used), "shared", known(v.Shared),
			"block size", strconv.Itoa(int(v.BlockSize)), "physical block", strconv.Itoa(int(v.PhysicalBlock)), "read-only", yes(v.ReadOnly),
			"removable", yes(v.Removable), "adopted", v.Adopted, "created", when(v.Created), "problem", v.Problem,
			"prefers", strings.Join(v.Prefer, ","), "fencing", v.Fencing)
		if o := v.Ownership; o != nil {
			fields(w, "owner", owned(o), "epoch", strconv.FormatUint(o.Epoch, 10), "since", when(o.Since), "because", because(*o), "trouble", trouble(*o), "silent", v.Silent)
		}
		for _, m := range v.Mappings {
			fields(w, "mapped", "LUN "+strconv.Itoa(int(m.LUN))+" of "+m.Target)
		}
		for _, s := range v.Snapshots {
			fields(w, "snapshot", s.Name+", "+size(s.Size)+", "+when(s.Created))
		}
		for _, j := range v.Jobs {
			fields(w, j.Kind, j.Subject+", "+size(j.Done)+" of "+size(j.Total))
		}
	})
}

type volumeResizeOptions struct {
	size   string
	output output
}

func (a *app) volumeResizeCommand() *cobra.Command {
	o := &volumeResizeOptions{}
	c := o.output.add(command("resize NAME SIZE", "Make a volume larger", `
Make a volume larger while hosts use it. They are told; most then need a rescan.
A volume can't become smaller.`, cobra.RangeArgs(1, 2), func(ctx context.Context, args []string) error {
		if len(args) == 2 {
			if o.size != "" {
				return usage("give the size once: as an argument or with --size")
			}
			o.size = args[1]
		}
		return o.run(ctx, a, args[0])
	}))
	c.Flags().StringVar(&o.size, "size", "", "new size, with K, M, G or T")
	return c
}

func (o *volumeResizeOptions) run(ctx context.Context, a *app, name string) error {
	if o.size == "" {
		return usage("how large is volume %s to be? 'sango volume resize %s 20G'", name, name)
	}
	bytes, err := san.ParseSize(o.size)
	if err != nil {
		return err
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	resp, err := cl.ResizeVolume(ctx, connect.NewRequest(&v1.ResizeVolumeRequest{Name: name, Size: bytes}))
	if err != nil {
		return err
	}
	a.say(o.output, "volume %s has %s now", name, size(resp.Msg.GetVolume().GetSize()))
	return a.object(o.output, viewVolume(resp.Msg.GetVolume()))
}

type volumeDeleteOptions struct {
	noWait bool
	output output
}

func (a *app) volumeDeleteCommand() *cobra.Command {
	o := &volumeDeleteOptions{}
	c := o.output.add(command("delete NAME | NAME@SNAPSHOT", "Delete a volume or one of its snapshots", `
Delete a volume that no LUN maps, with its snapshots and its data; or one
snapshot. What a snapshot holds that is still needed is merged into what
stands on it: that goes on in the background, and the command shows how far
it is unless --no-wait is given.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
	c.Flags().BoolVar(&o.noWait, "no-wait", false, "do not wait for the merge behind a snapshot")
	return c
}

func (o *volumeDeleteOptions) run(ctx context.Context, a *app, name string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	volume, snapshot, isSnapshot := strings.Cut(name, "@")
	if isSnapshot {
		if volume == "" || snapshot == "" {
			return usage("%q: name a snapshot as VOLUME@SNAPSHOT", name)
		}
		return o.merge(ctx, a, cl, volume, snapshot)
	}
	if _, err := cl.DeleteVolume(ctx, connect.NewRequest(&v1.DeleteVolumeRequest{Name: name})); err != nil {
		return err
	}
	a.say(o.output, "volume %s deleted", name)
	return a.object(o.output, map[string]string{"deleted": name})
}

func (o *volumeDeleteOptions) merge(ctx context.Context, a *app, cl *api.Client, volume, snapshot string) error {
	stream, err := cl.DeleteSnapshot(ctx, connect.NewRequest(&v1.DeleteSnapshotRequest{Volume: volume, Snapshot: snapshot, NoWait: o.noWait}))
	if err != nil {
		return api.FromWire(err)
	}
	defer stream.Close()
	p := a.progress(o.output, "merging "+volume+"@"+snapshot, 0)
	defer p.end()
	for stream.Receive() {
		p.set(stream.Msg().GetDone(), stream.Msg().GetTotal())
	}
	p.end()
	if err := stream.Err(); err != nil {
		return api.FromWire(err)
	}
	a.say(o.output, "snapshot %s@%s deleted", volume, snapshot)
	return a.object(o.output, map[string]string{"deleted": volume + "@" + snapshot})
}
