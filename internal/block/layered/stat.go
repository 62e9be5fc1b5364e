package layered

import (
	"errors"
	"fmt"
	"time"

	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// Stats are a volume's statistics.
type Stats struct {
	Size      int64          `json:"size"`   // bytes that hosts see
	Used      int64          `json:"used"`   // bytes of disk in layers that no other volume holds, an adopted file's too
	Shared    int64          `json:"shared"` // bytes of disk in layers that other volumes hold too
	BlockSize int            `json:"block_size"`
	Layers    int            `json:"layers"`
	Depth     int            `json:"depth"` // layers that a read may have to look at
	Snapshots []SnapshotInfo `json:"snapshots,omitempty"`
	Origin    san.UUID       `json:"origin,omitzero"` // the volume that it was cloned from
	Created   time.Time      `json:"created"`
	Job       *Job           `json:"job,omitempty"` // background work, if this process has the volume loaded
}

// Stat returns a volume's statistics, open or not, here or elsewhere.
// ErrNotFound.
func (s *Store) Stat(id san.UUID) (Stats, error) {
	m, err := s.peek(id)
	if err != nil {
		return Stats{}, err
	}
	st := Stats{Size: m.Size, BlockSize: m.BlockSize, Layers: len(m.Layers), Depth: len(m.chain(m.Live)), Created: m.Created}
	if m.Origin != nil {
		st.Origin = m.Origin.Volume
	}
	for _, r := range m.Snapshots {
		st.Snapshots = append(st.Snapshots, SnapshotInfo{r.Name, r.Size, r.Created})
	}
	for _, r := range m.Layers {
		names := r.files(s.volumeDir(id))
		shared := false
		for i, name := range names {
			if i == 0 && r.Adopted != "" {
				name = r.Adopted
			}
			info, err := s.fs.Stat(name)
			if errors.Is(err, vfs.ErrNotExist) {
				continue // dropped meanwhile
			}
			if err != nil {
				return st, err
			}
			if i == 0 && r.Adopted == "" {
				shared = info.Links > 1
			}
			if shared {
				st.Shared += info.Allocated
			} else {
				st.Used += info.Allocated
			}
		}
	}
	for _, j := range s.Jobs() {
		if j.Volume == id {
			st.Job = &j
		}
	}
	return st, nil
}

// peek reads a volume's manifest without opening the volume.
func (s *Store) peek(id san.UUID) (*manifest, error) {
	m, err := readManifest(s.fs, s.volumeDir(id))
	if errors.Is(err, vfs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("volume %s: %w", id, err)
	}
	return m, nil
}
