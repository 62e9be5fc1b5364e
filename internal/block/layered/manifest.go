package layered

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// layerID names a layer and its files. It is random, so that clones can hold
// other volumes' layers under the same name.
type layerID = san.UUID

// manifest is what a volume consists of: its one commit point.
type manifest struct {
	Volume    san.UUID   `json:"volume"`
	Sequence  uint64     `json:"sequence"` // grows by one with each commit
	BlockSize int        `json:"block_size"`
	Physical  int        `json:"physical_block"`
	Size      int64      `json:"size"`
	Live      layerID    `json:"live"` // takes the writes
	Layers    []layerRec `json:"layers"`
	Snapshots []snapRec  `json:"snapshots,omitempty"` // oldest first
	Origin    *originRec `json:"origin,omitempty"`
	Created   time.Time  `json:"created"`
}

// layerRec is one layer of the tree. Layers never get shorter towards the top.
type layerRec struct {
	ID      layerID  `json:"id"`
	Parent  *layerID `json:"parent,omitempty"` // what is beneath; none: nothing, and no allocation log
	Size    int64    `json:"size"`             // bytes; what lies past it reads as zeros
	Segment int64    `json:"segment"`          // bytes a file
	Adopted string   `json:"adopted,omitempty"`
}

type snapRec struct {
	Name    string    `json:"name"`
	Layer   layerID   `json:"layer"`
	Size    int64     `json:"size"`
	Created time.Time `json:"created"`
}

type originRec struct {
	Volume   san.UUID `json:"volume"`
	Snapshot string   `json:"snapshot"`
}

const (
	manifestName    = "manifest"
	manifestMagic   = "sango-volume"
	manifestVersion = 1
	maxManifest     = 64 << 20 // bytes; some 200,000 snapshots
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is wrapped by every error about bytes that can't be what was
// written.
var errDamaged = errors.New("damaged")

func (m *manifest) encode() ([]byte, error) {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	head := fmt.Sprintf("%s %d %d %08x\n", manifestMagic, manifestVersion, len(body), crc32.Checksum(body, castagnoli))
	return append([]byte(head), body...), nil
}

func parseManifest(b []byte) (*manifest, error) {
	line, body, _ := bytes.Cut(b, []byte("\n"))
	var version, length int
	var sum uint32
	if n, err := fmt.Sscanf(string(line), manifestMagic+" %d %d %x", &version, &length, &sum); err != nil || n != 3 {
		return nil, fmt.Errorf("manifest %w: its first line is not one of ours", errDamaged)
	}
	if version != manifestVersion {
		return nil, fmt.Errorf("manifest has format version %d, this program knows %d: use the version that wrote it, or a newer one", version, manifestVersion)
	}
	if length != len(body) || crc32.Checksum(body, castagnoli) != sum {
		return nil, fmt.Errorf("manifest %w: length or checksum do not match", errDamaged)
	}
	m := new(manifest)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("manifest %w: %w", errDamaged, err)
	}
	return m, m.validate()
}

// validate checks what the rest of the package takes for granted.
func (m *manifest) validate() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("manifest of volume %s %w: %s", m.Volume, errDamaged, fmt.Sprintf(format, a...))
	}
	if err := checkGeometry(m.Size, m.BlockSize, m.Physical); err != nil {
		return bad("%v", err)
	}
	seen := make(map[layerID]*layerRec, len(m.Layers))
	for i := range m.Layers {
		l := &m.Layers[i]
		if seen[l.ID] != nil {
			return bad("layer %s is there twice", l.ID)
		}
		if l.Segment <= 0 || l.Segment%clusterSize != 0 || l.Size < 0 || l.Size > san.MaxVolumeSize {
			return bad("layer %s has size %d in segments of %d", l.ID, l.Size, l.Segment)
		}
		seen[l.ID] = l
	}
	if seen[m.Live] == nil {
		return bad("the live layer %s is missing", m.Live)
	}
	if seen[m.Live].Size != m.Size {
		return bad("the live layer has %d bytes, the volume %d", seen[m.Live].Size, m.Size)
	}
	for _, s := range m.Snapshots {
		if seen[s.Layer] == nil {
			return bad("layer %s of snapshot %q is missing", s.Layer, s.Name)
		}
	}
	sound := make(map[layerID]bool, len(m.Layers)) // its way down has been seen
	for i := range m.Layers {
		var way []layerID
		for at := &m.Layers[i]; at.Parent != nil && !sound[at.ID]; {
			way = append(way, at.ID)
			below := seen[*at.Parent]
			switch {
			case below == nil:
				return bad("layer %s beneath %s is missing", *at.Parent, at.ID)
			case len(way) > len(m.Layers):
				return bad("layer %s is beneath itself", at.ID)
			case below.Size > at.Size:
				return bad("layer %s is shorter than %s beneath it", at.ID, below.ID)
			}
			at = below
		}
		for _, id := range way {
			sound[id] = true
		}
	}
	return nil
}

func checkGeometry(size int64, block, physical int) error {
	switch {
	case block != san.BlockSize512 && block != san.BlockSize4096:
		return fmt.Errorf("block size %d: want 512 or 4096", block)
	case physical != block && physical != san.BlockSize4096:
		return fmt.Errorf("physical block size %d: want %d or 4096", physical, block)
	case size <= 0 || size%int64(block) != 0:
		return fmt.Errorf("size %d: want a positive multiple of the block size %d", size, block)
	case size > san.MaxVolumeSize:
		return fmt.Errorf("size %d: the largest volume has %d bytes (64 TiB)", size, int64(san.MaxVolumeSize))
	}
	return nil
}

// clone returns a copy to be changed and committed.
func (m *manifest) clone() *manifest {
	c := *m
	c.Sequence++
	c.Layers = slices.Clone(m.Layers)
	c.Snapshots = slices.Clone(m.Snapshots)
	return &c
}

func (m *manifest) layer(id layerID) *layerRec {
	for i := range m.Layers {
		if m.Layers[i].ID == id {
			return &m.Layers[i]
		}
	}
	return nil
}

func (m *manifest) snapshot(name string) *snapRec {
	for i := range m.Snapshots {
		if m.Snapshots[i].Name == name {
			return &m.Snapshots[i]
		}
	}
	return nil
}

// chain returns the layers that make up id's contents, top first.
func (m *manifest) chain(id layerID) []layerID {
	var ids []layerID
	for l := m.layer(id); l != nil; l = m.layer(*l.Parent) {
		ids = append(ids, l.ID)
		if l.Parent == nil {
			break
		}
	}
	return ids
}

func (m *manifest) children(id layerID) (kids []layerID) {
	for _, l := range m.Layers {
		if l.Parent != nil && *l.Parent == id {
			kids = append(kids, l.ID)
		}
	}
	return kids
}

func (m *manifest) named(id layerID) bool {
	return slices.ContainsFunc(m.Snapshots, func(s snapRec) bool { return s.Layer == id })
}

// prune drops layers that nothing needs: neither live, nor a snapshot, nor
// beneath one. It returns them.
func (m *manifest) prune() (dropped []layerRec) {
	for {
		i := slices.IndexFunc(m.Layers, func(l layerRec) bool {
			return l.ID != m.Live && !m.named(l.ID) && len(m.children(l.ID)) == 0
		})
		if i < 0 {
			return dropped
		}
		dropped = append(dropped, m.Layers[i])
		m.Layers = slices.Delete(m.Layers, i, i+1)
	}
}

// errUnsettled is wrapped by the error of a commit of which it is unknown
// whether it will be there after a power cut: the volume must stop.
var errUnsettled = errors.New("a change of the volume could not be made stable")

// writeManifest commits m in dir: temporary file, fsync, rename, fsync of the
// directory. An error that is not errUnsettled means that the old one stands.
func writeManifest(fsys vfs.FS, dir string, m *manifest) error {
	if err := m.validate(); err != nil {
		return err
	}
	b, err := m.encode()
	if err != nil {
		return err
	}
	if len(b) > maxManifest {
		return fmt.Errorf("%w: the volume has too many snapshots: %d", ErrSpec, len(m.Snapshots))
	}
	tmp := dir + "/" + manifestName + tmpSuffix
	f, err := fsys.Open(tmp, vfs.Replace)
	if err != nil {
		return err
	}
	err = f.WriteVec([][]byte{b}, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = fsys.Remove(tmp) // the next open does it else
		return err
	}
	if err := fsys.Rename(tmp, dir+"/"+manifestName); err != nil {
		return fmt.Errorf("%w: %w", errUnsettled, err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("%w: %w", errUnsettled, err)
	}
	return nil
}

func readManifest(fsys vfs.FS, dir string) (*manifest, error) {
	b, err := vfs.ReadFile(fsys, dir+"/"+manifestName, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return m, nil
}
