package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/gateway"
	"sango/internal/meta"
	"sango/internal/san"
)

// backupView is how a backup is shown.
type backupView struct {
	File     string    `json:"file"`
	Schema   int       `json:"schema"`
	Revision int64     `json:"revision"`
	Created  time.Time `json:"created"`
	Keys     int       `json:"keys"`
}

type clusterBackupOptions struct{ output output }

func (a *app) clusterBackupCommand() *cobra.Command {
	o := &clusterBackupOptions{}
	return o.output.add(command("backup FILE", "Write the metadata of this moment to a file", `
Write the metadata of this moment to a file while nodes serve: volumes, targets,
LUN maps, hosts with their secrets, reservations. The bytes of volumes are not
in it. The file appears when it is whole and on the disk, for its owner's eyes
only, and replaces one of that name.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
}

func (o *clusterBackupOptions) run(ctx context.Context, a *app, path string) (err error) {
	cl, err := a.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		if e := (*fs.PathError)(nil); errors.As(err, &e) { // it has a name that nobody gave
			err = e.Err
		}
		return fmt.Errorf("backup to %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
		f.Close()
	}()
	if err = receiveBackup(ctx, cl, f); err != nil {
		return err
	}
	// What was received is read again from the file: a backup that can't be is none.
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	info, err := meta.ReadBackup(f, func(string, []byte) error { return nil })
	if err != nil {
		return err
	}
	if err = errors.Join(f.Sync(), os.Rename(f.Name(), path)); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err = syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return a.printBackup(o.output, path, info, "written to")
}

func receiveBackup(ctx context.Context, cl *api.Client, w io.Writer) error {
	stream, err := cl.Backup(ctx, connect.NewRequest(&v1.BackupRequest{}))
	if err != nil {
		return api.FromWire(err)
	}
	for stream.Receive() {
		if _, err := w.Write(stream.Msg().GetData()); err != nil {
			return fmt.Errorf("backup: %w", errors.Join(err, stream.Close()))
		}
	}
	err = stream.Err()
	return errors.Join(api.FromWire(err), stream.Close())
}

func (a *app) printBackup(o output, path string, info meta.BackupInfo, did string) error {
	view := backupView{path, info.Schema, info.Revision, info.Created, info.Keys}
	return a.print(o, view, func(w io.Writer) {
		fmt.Fprintf(w, "metadata of %s (%d keys) %s %s\n", when(&info.Created), info.Keys, did, path)
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type clusterRestoreOptions struct {
	config  string
	replace bool
	output  output
}

func (a *app) clusterRestoreCommand() *cobra.Command {
	o := &clusterRestoreOptions{}
	c := o.output.add(command("restore FILE", "Put a backup of the metadata back", `
Put a backup of the metadata into the directory of a node that does not run:
that of --dir, where it goes to where the node kept its metadata, or that of a
configuration file. Metadata that is there is thrown away with --replace only.

Volumes whose bytes are not in the directory of the node that serves them then
are shown as broken, and their LUNs are not ready. Reservations are those of the
moment of the backup.

A cluster of its own members is restored on one node while all are stopped, with
its configuration as it is and without DIR/meta: it is the only member then, and
the others are added to it, without theirs. What the restore prints says how.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, a, args[0]) }))
	c.Flags().StringVar(&o.config, "config", "", "configuration file of the node")
	c.Flags().BoolVar(&o.replace, "replace", false, "throw away the metadata that is there")
	return c
}

func (o *clusterRestoreOptions) run(ctx context.Context, a *app, path string) error {
	var cfg gateway.Config
	var err error
	if o.config != "" {
		cfg, _, err = gateway.ReadNodeConfig(o.config)
	} else if cfg.Dir, err = a.node(); err == nil {
		cfg.Dir, err = filepath.Abs(cfg.Dir)
	}
	if err != nil {
		return err
	}
	cfg.Log = a.logger(slog.LevelError)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return san.Errorf(san.ErrNotFound, "there is no backup %s", path)
	} else if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	cfg.Meta.Waits = func(what string) {
		if what != "" {
			fmt.Fprintf(a.err, "the restore waits for %s\n", what)
		}
	}
	info, others, err := gateway.Restore(ctx, cfg, o.config != "", f, o.replace)
	if err != nil {
		return err
	}
	if err := a.printBackup(o.output, path, info, "restored from"); err != nil {
		return err
	}
	if len(others) > 0 {
		fmt.Fprintf(a.err, "%s is the only member of the metadata now. Start it; then, one after the other, let the others join:\n", cfg.Meta.Member.Name)
		for _, s := range others {
			name, addr, _ := strings.Cut(s, "=")
			fmt.Fprintf(a.err, "  sango cluster add %s %s    then start %s with an empty DIR/meta and what that prints, 'join: true'\n", name, addr, name)
		}
	}
	return nil
}
