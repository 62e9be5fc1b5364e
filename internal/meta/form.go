package meta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.uber.org/zap"

	"sango/internal/san"
)

// formName is the file that remembers which store is that of a directory, and
// how it is run, for commands that have the directory alone.
const formName = "form.json"

// form is its contents. Without a store it is that of a member that has not
// been opened yet.
type form struct {
	Store    san.UUID  `json:"store,omitzero"` // identity
	Member   *Member   `json:"member,omitempty"`
	External *External `json:"external,omitempty"`
}

// Saved returns the options with which the store in dir was opened last.
func Saved(dir string, log *slog.Logger) (Options, error) {
	f, err := readForm(dir)
	return Options{Log: log, Member: f.Member, External: f.External}, err
}

func readForm(dir string) (f form, err error) {
	path := filepath.Join(dir, formName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil {
		return f, fmt.Errorf("metadata: %s: %w; start the node with its configuration once to have it written anew", path, err)
	}
	return f, nil
}

// checkForm refuses to open the store of dir in a way in which it would be
// another one, and returns the identity of the one that dir had so far, if any.
func checkForm(dir string, o Options) (id san.UUID, err error) {
	old, err := readForm(dir)
	if err != nil {
		old = form{} // damaged, and about to be written anew
	}
	embedded, err := holdsStore(dir)
	if err != nil {
		return id, err
	}
	if old.Member != nil && old.Store.IsZero() {
		// Nothing says that it was ever opened: a wrong configuration may be replaced.
		if embedded && !old.Member.bootsAs(o.Member) && unused(dir, o.Log) {
			if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
				return id, fmt.Errorf("metadata: what is left of a first start that failed: %w", err)
			}
			embedded = false
		}
		if !embedded {
			old = form{}
		}
	}
	const move = "to move metadata, take a backup ('sango cluster backup'), stop the node, move %s away and restore the backup ('sango cluster restore')"
	switch {
	case o.External != nil && embedded:
		return id, san.Errorf(san.ErrRefused, "%s holds metadata of its own, and the configuration names another etcd; "+move, dir, dir)
	case o.External == nil && old.External != nil:
		return id, san.Errorf(san.ErrRefused, "the metadata of %s is in the etcd at %s, which the configuration does not name; "+move, dir, old.External.where(), dir)
	case o.Member == nil && old.Member != nil:
		return id, san.Errorf(san.ErrRefused, "%s holds the metadata member %s of a cluster, and the configuration has no cluster; "+move, dir, old.Member.Name, dir)
	case o.Member != nil && old.Member == nil && embedded && len(o.Member.Members) > 1:
		return id, san.Errorf(san.ErrRefused, "%s holds metadata already: leave the setting members out, start the node, and add the other members with 'sango cluster add'", dir)
	}
	if o.Member != nil && old.Store.IsZero() {
		// A start that ends halfway is gone on with as what it was.
		return id, form{Member: o.Member}.save(dir)
	}
	return old.Store, nil
}

// save writes the file where it says something else.
func (f form) save(dir string) error {
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	path := filepath.Join(dir, formName)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, b) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("metadata directory: %w", err)
	}
	return WriteFile(path, b)
}

// remember notes that the store id is that of dir, opened with o.
func remember(dir string, o Options, id san.UUID) error {
	return form{Store: id, Member: o.Member, External: o.External}.save(dir)
}

// bootsAs reports whether the first start of m is that of other too.
func (m *Member) bootsAs(other *Member) bool {
	return other != nil && m.Name == other.Name && m.Peer == other.Peer && m.Join == other.Join && slices.Equal(m.Members, other.Members)
}

// holdsStore reports whether an embedded member has made its log in dir.
func holdsStore(dir string) (bool, error) {
	logs, err := filepath.Glob(filepath.Join(walDir(dir), "*.wal"))
	return len(logs) > 0, err
}

func walDir(dir string) string { return filepath.Join(dir, "etcd", "member", "wal") }

// unused reports whether the member in dir has taken part in nothing: it knows
// of no election, so that it has neither voted nor confirmed anything that it
// must not forget. What can't be read counts as used.
func unused(dir string, log *slog.Logger) bool {
	w, err := wal.OpenForRead(zap.New(newSlogCore(log)), walDir(dir), &walpb.Snapshot{})
	if err != nil {
		return false
	}
	_, state, entries, err := w.ReadAll() // it closes what was opened for reading alone
	if err != nil || state.GetVote() != 0 || state.GetTerm() > bootTerm {
		return false
	}
	for _, e := range entries {
		if e.GetTerm() > bootTerm {
			return false
		}
	}
	return true
}

// bootTerm is the term of what a member writes to its log before it talks to
// others: the first members of its cluster.
const bootTerm = 1

// WriteFile puts a file in place, durably, or leaves the old one. Only its
// owner may read it.
func WriteFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
