package layered

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// CreateSpec says what volume to make.
type CreateSpec struct {
	ID            san.UUID
	Size          int64 // bytes; 0 with Adopt: all of it
	BlockSize     int   // bytes: 512 or 4096
	PhysicalBlock int   // bytes: BlockSize or 4096; 0: 4096
	// Adopt is a raw file or block device that becomes the lowest layer, with
	// what it holds. It stays where it is, and is written to; deleting the
	// volume leaves it there.
	Adopt string
}

// Create makes a volume that takes no space yet. ErrExists, ErrSpec, ErrTooBig.
func (s *Store) Create(spec CreateSpec) error {
	if spec.PhysicalBlock == 0 {
		spec.PhysicalBlock = san.BlockSize4096
	}
	err := s.create(spec)
	if err != nil {
		return fmt.Errorf("create volume %s: %w", spec.ID, err)
	}
	return nil
}

func (s *Store) create(spec CreateSpec) error {
	root := layerRec{ID: s.newID(), Size: spec.Size, Segment: s.segment}
	if spec.Adopt != "" {
		info, err := s.fs.Stat(spec.Adopt)
		if err != nil {
			return err
		}
		bs := int64(max(1, spec.BlockSize))
		if spec.Size == 0 {
			spec.Size = info.Size / bs * bs
		}
		if info.Dir || spec.Size > info.Size && info.Device {
			return fmt.Errorf("%w: %s has %d bytes", ErrTooBig, spec.Adopt, info.Size)
		}
		root.Adopted, root.Size, root.Segment = spec.Adopt, spec.Size, (san.MaxVolumeSize + clusterSize)
	}
	if err := checkGeometry(spec.Size, spec.BlockSize, spec.PhysicalBlock); err != nil {
		return fmt.Errorf("%w: %w", ErrSpec, err)
	}
	m := &manifest{
		Volume: spec.ID, Sequence: 1, BlockSize: spec.BlockSize, Physical: spec.PhysicalBlock, Size: spec.Size,
		Live: root.ID, Layers: []layerRec{root}, Created: time.Now().UTC(),
	}
	return s.establish(m, func(dir string) error {
		l := &layer{rec: root, size: root.Size}
		defer l.close()
		if root.Adopted == "" {
			return l.createData(s.fs, dir)
		}
		return adopt(s.fs, dir, l)
	})
}

// adopt makes the stand-in of a foreign file, and gives it the volume's size.
func adopt(fsys vfs.FS, dir string, l *layer) error {
	f, err := fsys.Open(adoptedName(dir, l.rec.ID), vfs.Replace)
	if err != nil {
		return err
	}
	err = f.WriteVec([][]byte{[]byte(l.rec.Adopted + "\n")}, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := l.openSegment(fsys, l.rec.Adopted, vfs.ReadWrite, 0); err != nil {
		return err
	}
	l.links = 1
	if err := l.protect(fsys); err != nil {
		return err
	}
	return l.extend(fsys, dir, 0, l.size)
}

// establish makes a new volume's directory: fill puts the layers there, then
// the manifest commits it. What fails, or is cut short, before that leaves a
// directory without manifest, which is no volume, and is taken over by the
// next attempt.
func (s *Store) establish(m *manifest, fill func(dir string) error) error {
	s.mu.Lock()
	shut := s.shut
	s.mu.Unlock()
	if shut {
		return ErrClosed
	}
	if m.Volume.IsZero() {
		return fmt.Errorf("%w: a volume needs an id", ErrSpec)
	}
	dir := s.volumeDir(m.Volume)
	if err := s.fs.Mkdir(dir); err != nil && !errors.Is(err, vfs.ErrExist) {
		return err
	}
	lock, _, err := s.lockVolume(context.Background(), dir, OpenOptions{})
	if err != nil {
		return err
	}
	defer lock.Close()
	defer s.signOff(dir, lock)
	if _, err := s.fs.Stat(dir + "/" + manifestName); err == nil {
		return ErrExists
	} else if !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	err = s.empty(dir)
	if err == nil {
		err = fill(dir)
	}
	if err == nil {
		err = createSlot(s.fs, dir)
	}
	if err == nil {
		err = s.fs.SyncDir(dir)
	}
	if err == nil {
		err = s.fs.SyncDir(s.dir + "/" + volumesName)
	}
	if err == nil {
		err = writeManifest(s.fs, dir, m)
	}
	if err != nil && !errors.Is(err, errUnsettled) {
		err = errors.Join(err, s.remove(dir))
	}
	return err
}

// empty removes all files but the lock from a directory without a manifest.
// That there is none is made stable first: it may have been removed a moment
// ago, by a process that is dead now, and must not come back without the rest.
func (s *Store) empty(dir string) error {
	if err := s.fs.SyncDir(dir); err != nil {
		return err
	}
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n == lockName {
			continue
		}
		if err := s.fs.Remove(dir + "/" + n); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the directory of what is no volume.
func (s *Store) remove(dir string) error {
	if err := s.empty(dir); err != nil {
		return err
	}
	if err := s.fs.Remove(dir + "/" + lockName); err != nil {
		return err
	}
	if err := s.fs.Remove(dir); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir + "/" + volumesName)
}

// Delete removes a volume that is not open, with its snapshots. Layers that
// clones hold stay with them; an adopted file stays as it is. ErrNotFound,
// ErrInUse.
func (s *Store) Delete(id san.UUID) error {
	if err := s.delete(id); err != nil {
		return fmt.Errorf("delete volume %s: %w", id, err)
	}
	return nil
}

func (s *Store) delete(id san.UUID) error {
	s.mu.Lock()
	e := s.entries[id]
	s.mu.Unlock()
	if e != nil {
		e.mu.Lock()
		v, open := e.v, e.device != nil
		e.mu.Unlock()
		if open {
			return fmt.Errorf("%w: close it first", ErrInUse)
		}
		if v != nil {
			v.jobs.stop() // a merge of a volume that nobody has open
		}
	}
	dir := s.volumeDir(id)
	if _, err := s.fs.Stat(dir); err != nil {
		if errors.Is(err, vfs.ErrNotExist) {
			err = ErrNotFound
		}
		return err
	}
	lock, err := s.lockGoing(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	defer s.signOff(dir, lock)
	err = s.fs.Remove(dir + "/" + manifestName)
	if errors.Is(err, vfs.ErrNotExist) {
		err = ErrNotFound // but what an earlier attempt left goes
	} else if err != nil {
		return err
	}
	return errors.Join(err, s.remove(dir))
}
