package layered

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sango/internal/block"
	"sango/internal/san"
)

// SnapshotInfo is one snapshot of a volume.
type SnapshotInfo struct {
	Name    string    `json:"name"`
	Size    int64     `json:"size"` // bytes the volume had
	Created time.Time `json:"created"`
}

// maxName bounds the names of snapshots, in bytes.
const maxName = 255

func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '@' || r == '/' }) {
		return fmt.Errorf("%w: snapshot name %q: want 1 to %d bytes without @, / and control characters", ErrSpec, name, maxName)
	}
	return nil
}

// Snapshot freezes the volume as it is under the given name. Requests wait
// while it drains, flushes and commits; the time does not depend on the size.
// ErrExists, ErrNotFound.
func (s *Store) Snapshot(id san.UUID, name string) error {
	return s.with(id, "snapshot "+name+" of", func(_ *entry, v *volume) error {
		if err := checkName(name); err != nil {
			return err
		}
		if v.man.snapshot(name) != nil {
			return fmt.Errorf("%w: snapshot %q", ErrExists, name)
		}
		return v.push(name)
	})
}

// push puts an empty layer on top, with control held. What was live until then
// is frozen, as a snapshot if name is not empty.
func (v *volume) push(name string) error {
	l, err := v.newLayer(v.man.Live, v.man.Size)
	if err != nil {
		return err
	}
	// Most of the flush is done before anybody has to wait for it.
	v.gate.RLock()
	err = v.check(v.flush(v.live.chain[0]))
	v.gate.RUnlock()
	if err != nil {
		return errors.Join(err, v.dropNew(l))
	}
	v.gate.Lock()
	defer v.gate.Unlock()
	if err := v.check(v.flush(v.live.chain[0])); err != nil {
		return errors.Join(err, v.dropNew(l))
	}
	m := v.man.clone()
	if name != "" {
		m.Snapshots = append(m.Snapshots, snapRec{Name: name, Layer: m.Live, Size: m.Size, Created: time.Now().UTC()})
	}
	m.Layers = append(m.Layers, l.rec)
	m.Live = l.rec.ID
	if err := v.commit(m); err != nil {
		return errors.Join(err, v.dropNew(l))
	}
	v.layers[l.rec.ID] = l
	return v.restack()
}

// newLayer makes an empty layer over parent, stable, but not in the manifest.
func (v *volume) newLayer(parent layerID, size int64) (*layer, error) {
	rec := layerRec{ID: v.s.newID(), Parent: &parent, Size: size, Segment: v.s.segment}
	l := &layer{rec: rec, size: size, links: 1}
	err := l.createData(v.fs, v.dir)
	if err == nil {
		var log *logFile
		if log, err = createLog(v.fs, logName(v.dir, rec.ID), rec.ID, v.boot); err == nil {
			l.idx = newIndex(size, log, nil)
			err = v.fs.SyncDir(v.dir)
		}
	}
	if err != nil {
		return nil, errors.Join(err, v.dropNew(l))
	}
	return l, nil
}

// dropNew removes a layer that was not committed. If that is unknown (the
// volume has failed), its files stay.
func (v *volume) dropNew(l *layer) error {
	err := l.close()
	if v.failed.Load() == nil {
		v.remove([]layerRec{l.rec})
	}
	return err
}

// Snapshots lists the snapshots of a volume, oldest first, without opening it.
func (s *Store) Snapshots(id san.UUID) ([]SnapshotInfo, error) {
	m, err := s.peek(id)
	if err != nil {
		return nil, err
	}
	list := make([]SnapshotInfo, len(m.Snapshots))
	for i, r := range m.Snapshots {
		list[i] = SnapshotInfo{r.Name, r.Size, r.Created}
	}
	return list, nil
}

// DeleteSnapshot removes a snapshot. What only it needed goes at once; what
// the layer above needs is merged in the background (see Jobs), unless another
// snapshot or clone stands on it too; a volume that owners have had is merged
// while its owner has it open. ErrNotFound, ErrInUse while it is open.
func (s *Store) DeleteSnapshot(id san.UUID, name string) error {
	return s.withPaused(id, "delete snapshot "+name+" of", func(v *volume) error {
		if v.man.snapshot(name) == nil {
			return fmt.Errorf("%w: snapshot %q", ErrNotFound, name)
		}
		if v.views[name] != nil {
			return fmt.Errorf("%w: snapshot %q is being read", ErrInUse, name)
		}
		m := v.man.clone()
		keep := m.Snapshots[:0]
		for _, r := range m.Snapshots {
			if r.Name != name {
				keep = append(keep, r)
			}
		}
		m.Snapshots = keep
		return v.shrink(m)
	})
}

// shrink commits m without the layers that it no longer needs.
func (v *volume) shrink(m *manifest) error {
	dropped := m.prune()
	err := v.exclusively(func() error {
		if err := v.commit(m); err != nil {
			return err
		}
		if err := v.restack(); err != nil {
			return err
		}
		v.forget(dropped)
		return nil
	})
	if err == nil {
		v.remove(dropped)
	}
	return err
}

// withPaused is with, for operations that drop layers: no merge runs
// meanwhile. Afterwards merges go on with what there is to do then.
func (s *Store) withPaused(id san.UUID, what string, fn func(v *volume) error) error {
	e, err := s.acquire(id)
	if err != nil {
		return fmt.Errorf("%s volume %s: %w", what, id, err)
	}
	resume := e.v.jobs.pause()
	e.v.control.Lock()
	if err = e.v.readyErr(); err == nil {
		err = fn(e.v)
	}
	e.v.control.Unlock()
	resume()
	s.kick(id, e)
	if rerr := s.release(id, e); err == nil {
		err = rerr
	}
	if err != nil {
		return fmt.Errorf("%s volume %s: %w", what, id, err)
	}
	return nil
}

// Rollback makes the volume what it was at the snapshot; what was written
// since is lost, unless it is in another snapshot. The volume keeps its size:
// what lies past the snapshot's reads as zeros. Nobody should use the volume
// meanwhile, but it may be open.
func (s *Store) Rollback(id san.UUID, name string) error {
	return s.withPaused(id, "roll back to "+name, func(v *volume) error {
		snap := v.man.snapshot(name)
		if snap == nil {
			return fmt.Errorf("%w: snapshot %q", ErrNotFound, name)
		}
		l, err := v.newLayer(snap.Layer, v.man.Size)
		if err != nil {
			return err
		}
		var gone []layerRec
		defer func() { v.remove(gone) }() // after the gate has opened
		v.gate.Lock()
		defer v.gate.Unlock()
		if _, err := v.open(snap.Layer); err != nil {
			return errors.Join(err, v.dropNew(l))
		}
		m := v.man.clone()
		m.Layers = append(m.Layers, l.rec)
		m.Live = l.rec.ID
		dropped := m.prune()
		if err := v.commit(m); err != nil {
			return errors.Join(err, v.dropNew(l))
		}
		v.layers[l.rec.ID] = l
		if err := v.restack(); err != nil {
			return err
		}
		v.forget(dropped)
		gone = dropped
		return nil
	})
}

// Clone makes a volume that starts as the snapshot. It takes no space: it
// holds the snapshot's layers too (by hard links), whatever becomes of the
// volume they come from. ErrNotFound, ErrExists.
func (s *Store) Clone(id san.UUID, name string, newID san.UUID) error {
	return s.withPaused(id, fmt.Sprintf("clone %s from %s of", newID, name), func(v *volume) error {
		snap := v.man.snapshot(name)
		if snap == nil {
			return fmt.Errorf("%w: snapshot %q", ErrNotFound, name)
		}
		top := layerRec{ID: s.newID(), Parent: &snap.Layer, Size: snap.Size, Segment: s.segment}
		m := &manifest{
			Volume: newID, Sequence: 1, BlockSize: v.man.BlockSize, Physical: v.man.Physical, Size: snap.Size,
			Live: top.ID, Origin: &originRec{id, name}, Created: time.Now().UTC(),
		}
		chain := v.man.chain(snap.Layer)
		for _, lid := range chain {
			m.Layers = append(m.Layers, *v.man.layer(lid))
		}
		m.Layers = append(m.Layers, top)
		err := s.establish(m, func(dir string) error { return v.fillClone(dir, m) })
		for _, lid := range chain {
			if l := v.layers[lid]; l != nil {
				if lerr := l.look(v.fs, v.dir); err == nil {
					err = lerr
				}
			}
		}
		return err
	})
}

// fillClone links the layers below m's live one into dir, and makes that one.
func (v *volume) fillClone(dir string, m *manifest) error {
	for i := range m.Layers {
		r := &m.Layers[i]
		if r.ID == m.Live {
			continue
		}
		from, to := r.files(v.dir), r.files(dir)
		for j := range from {
			if err := v.fs.Link(from[j], to[j]); err != nil {
				return err
			}
		}
	}
	top := &layer{rec: *m.layer(m.Live), size: m.Size}
	defer top.close()
	if err := top.createData(v.fs, dir); err != nil {
		return err
	}
	log, err := createLog(v.fs, logName(dir, m.Live), m.Live, v.boot)
	if err != nil {
		return err
	}
	return log.f.Close()
}

// OpenSnapshot opens a snapshot for reading. Its volume may be open too. When
// an owner closes that, the snapshot is closed with it.
func (s *Store) OpenSnapshot(id san.UUID, name string) (block.Device, error) {
	e, err := s.acquire(id)
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s of volume %s: %w", name, id, err)
	}
	v := e.v
	d, err := v.openView(name)
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s of volume %s: %w", name, id, errors.Join(err, s.release(id, e)))
	}
	e.mu.Lock()
	late := e.leaving // it waits for this reference
	e.readers[d] = struct{}{}
	e.mu.Unlock()
	if late {
		return nil, fmt.Errorf("open snapshot %s of volume %s: %w", name, id, errors.Join(errLeaving, d.Close()))
	}
	return d, nil
}

func (v *volume) openView(name string) (*device, error) {
	v.control.Lock()
	defer v.control.Unlock()
	v.gate.Lock()
	defer v.gate.Unlock()
	snap := v.man.snapshot(name)
	if snap == nil {
		return nil, ErrNotFound
	}
	w := v.views[name]
	if w == nil {
		chain, err := v.open(snap.Layer)
		if err != nil {
			return nil, err
		}
		w = &view{chain: chain, size: snap.Size}
		v.views[name] = w
	}
	w.readers++
	return &device{v: v, w: w, snapshot: name, readOnly: true}, nil
}
