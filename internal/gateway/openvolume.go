package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"sango/internal/block"
	"sango/internal/block/layered"
	"sango/internal/san"
)

// OpenVolume opens a volume of a node that is not running, by its name. The
// node's directory is taken until the device is closed.
func OpenVolume(ctx context.Context, cfg Config, name string, readOnly bool) (block.Device, error) {
	if _, err := os.Stat(filepath.Join(cfg.Dir, metaName)); errors.Is(err, os.ErrNotExist) {
		return nil, san.Errorf(san.ErrNotFound, "no node has ever used the directory %s; name the right one with --dir", cfg.Dir)
	}
	lock, err := TakeLock(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("volume %s is used without its node: %w", name, err)
	}
	v, err := findVolume(ctx, cfg, name)
	if err != nil {
		lock.Release()
		return nil, err
	}
	var store *layered.Store
	volumes, err := notedVolumes(cfg.Dir)
	if err == nil {
		store, err = layered.OpenStore(volumes, layered.Options{Log: cfg.Log})
	}
	if err != nil {
		lock.Release()
		return nil, err
	}
	dev, err := store.OpenAs(v.ID, layered.OpenOptions{ReadOnly: readOnly || v.ReadOnly})
	if err != nil {
		err = errors.Join(err, store.Close())
		lock.Release()
		return nil, err
	}
	return &lone{dev: dev, store: store, lock: lock}, nil
}

// findVolume looks a volume up in the metadata.
func findVolume(ctx context.Context, cfg Config, name string) (*san.Volume, error) {
	m, err := openSaved(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	snap, err := m.Load(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range snap.Volumes {
		if v.Name != name {
			continue
		}
		if v.Driver == san.DriverMem {
			return nil, san.Errorf(san.ErrRefused, "volume %s is kept in the memory of its node: there are no files to open", name)
		}
		return v, nil
	}
	return nil, san.Errorf(san.ErrNotFound, "there is no volume %s in %s", name, cfg.Dir)
}

// lone is a volume that is open without its node. It implements block.Device.
type lone struct {
	dev   block.Device
	store *layered.Store
	lock  *Lock
	once  sync.Once
}

// Info implements block.Device.
func (l *lone) Info() block.Info { return l.dev.Info() }

// Submit implements block.Device.
func (l *lone) Submit(r *block.Request) { l.dev.Submit(r) }

// Status implements block.Device.
func (l *lone) Status(off, n int64, limit int) ([]block.Extent, error) {
	return l.dev.Status(off, n, limit)
}

// Close implements block.Device: the node may start again.
func (l *lone) Close() (err error) {
	l.once.Do(func() {
		err = errors.Join(l.dev.Close(), l.store.Close())
		l.lock.Release()
	})
	return err
}
