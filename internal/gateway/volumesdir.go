package gateway

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sango/internal/block/layered"
	"sango/internal/meta"
	"sango/internal/san"
)

// volumesNote is the file that says where the volumes of a node are, if not in
// its directory: for commands that have nothing but that.
const volumesNote = "volumes-dir"

// noteVolumes leaves a note of where the volumes of a node are.
func noteVolumes(c *Config) error {
	path := filepath.Join(c.Dir, volumesNote)
	if c.Cluster.Volumes == filepath.Join(c.Dir, volumesName) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("note of the directory of volumes: %w", err)
		}
		return nil
	}
	note := []byte(c.Cluster.Volumes + "\n")
	if old, err := os.ReadFile(path); err == nil && string(old) == string(note) {
		return nil
	}
	return meta.WriteFile(path, note)
}

// notedVolumes returns where the volumes of a node are that does not run.
func notedVolumes(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, volumesNote))
	if errors.Is(err, fs.ErrNotExist) {
		return filepath.Join(dir, volumesName), nil
	}
	if err != nil {
		return "", fmt.Errorf("note of the directory of volumes: %w", err)
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}

// sharing are the options with which a gateway opens its metadata: one of a
// cluster that does not have the directory of volumes which the others share
// takes no part in it, and makes nothing there.
func (c *Config) sharing() meta.Options {
	o := c.metaOptions()
	if c.clustered() && !c.alone() {
		o.Admits = func(shared san.UUID) error {
			if shared.IsZero() {
				return nil
			}
			id, err := layered.IdentityOf(c.Cluster.Volumes)
			if err != nil || id == shared {
				return err
			}
			return meta.OtherVolumes(shared, id)
		}
	}
	return o
}
