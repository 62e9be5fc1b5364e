package meta

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"sango/internal/san"
)

// formName is the file that remembers how the store of a directory is run, for
// commands that have the directory alone. A store that is alone has none.
const formName = "form.json"

// form is its contents.
type form struct {
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
// another one, and remembers the way.
func checkForm(dir string, o Options) error {
	path := filepath.Join(dir, formName)
	old, err := readForm(dir)
	if err != nil {
		old = form{} // damaged, and about to be written anew
	}
	_, err = os.Stat(filepath.Join(dir, "etcd"))
	embedded := err == nil
	const move = "to move metadata, take a backup ('sango cluster backup'), stop the node, move %s away and restore the backup ('sango cluster restore')"
	switch {
	case o.External != nil && embedded:
		return san.Errorf(san.ErrRefused, "%s holds metadata of its own, and the configuration names another etcd; "+move, dir, dir)
	case o.External == nil && old.External != nil:
		return san.Errorf(san.ErrRefused, "the metadata of %s is in the etcd at %s, which the configuration does not name; "+move, dir, old.External.where(), dir)
	case o.Member == nil && old.Member != nil:
		return san.Errorf(san.ErrRefused, "%s holds the metadata member %s of a cluster, and the configuration has no cluster; "+move, dir, old.Member.Name, dir)
	case o.Member != nil && old.Member == nil && embedded && len(o.Member.Members) > 1:
		return san.Errorf(san.ErrRefused, "%s holds metadata already: leave the setting members out, start the node, and add the other members with 'sango cluster add'", dir)
	}
	now := form{Member: o.Member, External: o.External}
	if now == (form{}) {
		return nil
	}
	b, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("metadata directory: %w", err)
	}
	return WriteFile(path, append(b, '\n'))
}

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
