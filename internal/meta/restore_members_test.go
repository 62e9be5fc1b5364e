package meta

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"sango/internal/san"
)

// When all members of a cluster are stopped, a backup is put back on one of them
// with the configuration that it has, in a new directory, and the others join.
// Beside members that run it is refused; where the old directory is there, it
// says what it waits for.
func TestRestoreOfMembers(t *testing.T) {
	t.Parallel()
	m := cluster(t, 3)
	v := volume(t, m[0].Store, "db")
	var file bytes.Buffer
	if err := m[1].Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	restore := func(ctx context.Context, dir string, waits func(string)) error {
		o := m[0].opts
		o.Log, o.Waits = quiet(t), waits
		_, err := Restore(ctx, dir, o, bytes.NewReader(file.Bytes()), true)
		return err
	}
	m[0].stop()
	dir := t.TempDir()
	if err := restore(t.Context(), dir, nil); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "m1") {
		t.Errorf("beside members that run: %v", err)
	}
	m[1].stop()
	m[2].stop()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told string
	err := restore(ctx, m[0].dir, func(what string) {
		told = what
		cancel()
	})
	for _, want := range []string{"m1 at " + m[1].opts.Member.Peer, "m2 at ", "connection refused"} {
		if !strings.Contains(told, want) {
			t.Errorf("it waits for %q; want %q", told, want)
		}
	}
	if !errors.Is(err, san.ErrUnavailable) || !strings.Contains(err.Error(), "move "+m[0].dir+" away") {
		t.Errorf("where the old directory is there: %v", err)
	}

	if err := restore(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	m[0].dir = dir
	m[0].start(t)
	for _, r := range m[1:] {
		o := *r.opts.Member
		if o.Members, err = m[0].AddMember(t.Context(), o.Name, o.Peer); err != nil {
			t.Fatal(err)
		}
		o.Join = true
		r.opts.Member = &o
		if err := os.RemoveAll(r.dir); err != nil {
			t.Fatal(err)
		}
		r.start(t)
		update(t, r.Store, func(tx *Tx) error {
			o, err := tx.Owner(v.ID)
			if err == nil && (o.State != OwnerNone || o.Epoch < epochLeap) {
				t.Errorf("a volume that nobody had: %+v", o)
			}
			return err
		})
	}
}
