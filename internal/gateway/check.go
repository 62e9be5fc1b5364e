package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sango/internal/block/layered"
	"sango/internal/san"
)

// CheckReport is what a check of a node's volumes found.
type CheckReport struct {
	OK       bool           `json:"ok"`       // no damage
	Volumes  int            `json:"volumes"`  // that were looked at
	Layers   int            `json:"layers"`   // counted once for each volume that holds it
	Clusters int64          `json:"clusters"` // of 64 KiB
	Problems []CheckProblem `json:"problems"`
}

// CheckProblem is one finding.
type CheckProblem struct {
	Volume   string `json:"volume"`   // name, or UUID where it has none
	Severity string `json:"severity"` // note, warning or damage
	What     string `json:"what"`
	Advice   string `json:"advice,omitempty"`
}

// Check looks through the volumes of a node that is not running, all of them
// without names, and changes nothing in them: their files, and whether these
// and the metadata agree. told is called before each volume and at the end.
func Check(ctx context.Context, cfg Config, names []string, told func(done, total int)) (*CheckReport, error) {
	if _, err := os.Stat(filepath.Join(cfg.Dir, metaName)); errors.Is(err, os.ErrNotExist) {
		return nil, san.Errorf(san.ErrNotFound, "no node has ever used the directory %s; name the right one with --dir", cfg.Dir)
	}
	lock, err := TakeLock(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("a check needs the volumes for itself: %w", err)
	}
	defer lock.Release()
	m, err := openSaved(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	volumes, err := notedVolumes(cfg.Dir)
	if err != nil {
		return nil, err
	}
	store, err := layered.OpenStore(volumes, layered.Options{Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	snap, err := m.Load(ctx)
	if err != nil {
		return nil, err
	}
	c := &checker{store: store, rep: &CheckReport{Problems: []CheckProblem{}}, records: snap.Volumes}
	ids, err := c.choose(names)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		told(i, len(ids))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.volume(id); err != nil {
			return nil, err
		}
	}
	told(len(ids), len(ids))
	c.rep.OK = !slices.ContainsFunc(c.rep.Problems, func(p CheckProblem) bool { return p.Severity == layered.Damage.String() })
	return c.rep, nil
}

type checker struct {
	store   *layered.Store
	records map[san.UUID]*san.Volume
	rep     *CheckReport
}

func (c *checker) add(volume string, s layered.Severity, advice, format string, a ...any) {
	c.rep.Problems = append(c.rep.Problems, CheckProblem{volume, s.String(), fmt.Sprintf(format, a...), advice})
}

// choose returns the ids of the named volumes; without names, those of all
// records and of all files.
func (c *checker) choose(names []string) ([]san.UUID, error) {
	byName := map[string]*san.Volume{}
	for _, v := range c.records {
		byName[v.Name] = v
	}
	var ids []san.UUID
	for _, n := range names {
		v := byName[n]
		if v == nil {
			return nil, san.Errorf(san.ErrNotFound, "there is no volume %s", n)
		}
		ids = append(ids, v.ID)
	}
	if len(names) > 0 {
		return ids, nil
	}
	stored, err := c.store.List()
	if err != nil {
		return nil, err
	}
	for _, id := range stored {
		if c.records[id] == nil {
			ids = append(ids, id)
		}
	}
	for id := range c.records {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b san.UUID) int { return strings.Compare(c.name(a), c.name(b)) })
	return ids, nil
}

func (c *checker) name(id san.UUID) string {
	if v := c.records[id]; v != nil {
		return v.Name
	}
	return id.String()
}

// volume looks at one volume.
func (c *checker) volume(id san.UUID) error {
	v, name := c.records[id], c.name(id)
	if v == nil {
		c.add(name, layered.Warning, "the next start of the node removes it if it was being created or deleted; else keep the files until you know what they are", "its files are there, but the metadata knows no such volume")
	} else if v.Driver != san.DriverLayered {
		return nil // nothing on disk
	}
	rep, err := c.store.Check(id)
	if errors.Is(err, layered.ErrNotFound) {
		c.add(name, layered.Damage, "restore the directory from a backup, or delete the volume", "its files are gone")
		return nil
	}
	if err != nil {
		return err
	}
	c.rep.Volumes += rep.Volumes
	c.rep.Layers += rep.Layers
	c.rep.Clusters += rep.Clusters
	for _, p := range rep.Problems {
		c.add(name, p.Severity, p.Advice, "%s", p.What)
	}
	if rep.Skipped > 0 {
		c.add(name, layered.Warning, "stop the process that uses it, and check again", "it is in use and was not looked at")
	}
	if st, err := c.store.Stat(id); err == nil && v != nil {
		switch {
		case st.Size < v.Size:
			c.add(name, layered.Damage, "resize it to the size of its record", "its files hold %d bytes, its record says %d", st.Size, v.Size)
		case st.Size > v.Size:
			c.add(name, layered.Note, "the resize was cut short; repeat it", "its files hold %d bytes, its record says %d", st.Size, v.Size)
		}
	}
	return nil
}
