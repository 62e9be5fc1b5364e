package layered

import (
	"errors"
	"fmt"

	"sango/internal/san"
)

// Resize makes a volume larger, open or not: size is in bytes. What is new
// reads as zeros. A volume never gets smaller (ErrSpec). Where an adopted
// device has no room a new layer goes on top of it.
func (s *Store) Resize(id san.UUID, size int64) error {
	return s.with(id, "resize", func(_ *entry, v *volume) error {
		if err := checkGeometry(size, v.man.BlockSize, v.man.Physical); err != nil {
			return fmt.Errorf("%w: %w", ErrSpec, err)
		}
		if size == v.man.Size {
			return nil
		}
		if size < v.man.Size {
			return fmt.Errorf("%w: it has %d bytes, and can't be made smaller", ErrSpec, v.man.Size)
		}
		return v.resize(size)
	})
}

func (v *volume) resize(size int64) error {
	live := v.live.chain[0]
	if live.rec.Adopted != "" {
		info, err := v.fs.Stat(live.rec.Adopted)
		if err != nil {
			return err
		}
		if info.Device && info.Size < size {
			return v.pushLarger(size)
		}
	}
	// The files first: they may be longer than the volume says, not shorter.
	v.gate.Lock()
	defer v.gate.Unlock()
	err := live.extend(v.fs, v.dir, live.size, size)
	if err == nil {
		err = v.fs.SyncDir(v.dir)
	}
	if err != nil {
		return v.check(err)
	}
	m := v.man.clone()
	m.Size = size
	m.layer(m.Live).Size = size
	if err := v.commit(m); err != nil {
		return err
	}
	v.grow(live, size)
	v.live.size = size
	return nil
}

// grow lets an open layer have size bytes. The gate is held.
func (v *volume) grow(l *layer, size int64) {
	l.rec.Size, l.size = size, size
	if l.idx != nil {
		l.idx.grow(size)
	}
}

// pushLarger puts a layer of size bytes on top.
func (v *volume) pushLarger(size int64) error {
	l, err := v.newLayer(v.man.Live, size)
	if err != nil {
		return err
	}
	v.gate.Lock()
	defer v.gate.Unlock()
	if err := v.check(v.flush(v.live.chain[0])); err != nil {
		return errors.Join(err, v.dropNew(l))
	}
	m := v.man.clone()
	m.Size, m.Live = size, l.rec.ID
	m.Layers = append(m.Layers, l.rec)
	if err := v.commit(m); err != nil {
		return errors.Join(err, v.dropNew(l))
	}
	v.layers[l.rec.ID] = l
	return v.restack()
}
