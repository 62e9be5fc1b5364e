package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"

	"sango/internal/api"
	"sango/internal/block"
	"sango/internal/block/layered"
	"sango/internal/block/mem"
	"sango/internal/san"
)

// disks knows where the bytes of volumes are, by driver.
type disks struct {
	store    *layered.Store
	log      *slog.Logger
	memLimit int64
	shared   bool // other processes serve the same volumes
	through  bool // writes of layered volumes are stable when they end

	mu  sync.Mutex // guards mem
	mem map[san.UUID]*mem.Device
}

// volumesName is the directory of the layered store in the node's.
const volumesName = "volumes"

func openDisks(c *Config) (*disks, error) {
	s, err := layered.OpenStore(c.Cluster.Volumes, layered.Options{FS: c.fs, Log: c.Log, Rate: c.Limits.Background})
	if err != nil {
		return nil, err
	}
	return &disks{store: s, log: c.Log, memLimit: c.Limits.MemVolume, shared: c.clustered() && !c.alone(), through: c.Cluster.Through && c.clustered(), mem: map[san.UUID]*mem.Device{}}, nil
}

func (d *disks) close() error {
	d.mu.Lock()
	for _, m := range d.mem {
		m.Close()
	}
	clear(d.mem)
	d.mu.Unlock()
	return d.store.Close()
}

// kindly gives errors of the store a kind of package san.
func kindly(v string, err error) error {
	if err == nil || errors.As(err, new(*san.Error)) {
		return err
	}
	if block.ClassOf(err) == block.NoSpace || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return san.Errorf(san.ErrRefused, "volume %s: the disk that holds the volumes is full, or its quota is used up; free space there or delete a volume, and try again; once a little is free, deleting snapshots ('sango volume delete VOLUME@SNAPSHOT') gives more", v)
	}
	var kind error
	switch {
	case errors.Is(err, layered.ErrNotFound):
		kind = san.ErrNotFound
	case errors.Is(err, layered.ErrExists):
		kind = san.ErrExists
	case errors.Is(err, layered.ErrInUse), errors.Is(err, layered.ErrTooBig):
		kind = san.ErrRefused
	case errors.Is(err, layered.ErrSpec):
		kind = san.ErrInvalid
	case errors.Is(err, layered.ErrClosed), block.ClassOf(err) == block.Busy:
		kind = san.ErrUnavailable
	default:
		return fmt.Errorf("volume %s: %w", v, err)
	}
	return san.Errorf(kind, "volume %s: %v", v, err)
}

// device returns a volume as a block device, opened at its first use. What
// mem volumes hold stays with d until drop.
func (d *disks) device(v *san.Volume) *lazyDevice {
	if v.Driver == san.DriverMem {
		return newLazy(info(v, memCaps), func() (block.Device, error) {
			m, err := d.memory(v)
			if err != nil {
				return nil, err
			}
			return &kept{dev: m}, nil
		})
	}
	return newLazy(info(v, layered.Caps()), func() (block.Device, error) {
		dev, err := d.store.Open(v.ID)
		if err != nil {
			d.log.Error("volume does not open; 'sango volume check' looks for damage", "volume", v.Name, "id", v.ID.String(), "error", err)
		}
		return dev, err
	})
}

// info returns what a volume is as a device.
func (d *disks) info(v *san.Volume) block.Info {
	if v.Driver == san.DriverMem {
		return info(v, memCaps)
	}
	i := info(v, layered.Caps())
	if d.through {
		i = writtenThrough(i)
	}
	return i
}

// notShared refuses volumes in memory where gateways are processes of their
// own: another one that serves it would find nothing there.
func (d *disks) notShared(v *san.Volume) error {
	if v.Driver == san.DriverMem && d.shared {
		return san.Errorf(san.ErrRefused, "volume %s: the driver mem keeps volumes in the memory of one process, and other gateways of the cluster could not serve it; use the driver layered", v.Name)
	}
	return nil
}

// open opens a volume for its owner, a member of a cluster: those of earlier
// epochs are shut out.
func (d *disks) open(ctx context.Context, v *san.Volume, e san.Epoch, member uint64) (block.Device, error) {
	if err := d.notShared(v); err != nil {
		return nil, err
	}
	if v.Driver == san.DriverMem {
		m, err := d.memory(v)
		if err != nil {
			return nil, err
		}
		return &kept{dev: m}, nil
	}
	dev, err := d.store.OpenContext(ctx, v.ID, layered.OpenOptions{Epoch: e, Member: member})
	if err == nil && d.through {
		dev = through{dev}
	}
	return dev, err
}

// fence has nothing of a member that is gone reach a volume any more.
func (d *disks) fence(ctx context.Context, v san.UUID, member uint64) error {
	return d.store.Fence(ctx, v, member)
}

// memCaps are what package mem can do; it executes in place.
var memCaps = func() block.Caps {
	d, err := mem.New(mem.Options{Size: san.BlockSize4096, BlockSize: san.BlockSize512})
	if err != nil {
		return block.Caps{}
	}
	return d.Info().Caps
}()

func info(v *san.Volume, c block.Caps) block.Info {
	if v.Driver == san.DriverMem {
		c.Granularity = int64(v.PhysicalBlock)
	}
	return block.Info{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock, Caps: c}
}

// memory returns the one device of a mem volume.
func (d *disks) memory(v *san.Volume) (*mem.Device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.mem[v.ID]; m != nil {
		return m, nil
	}
	m, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock, Limit: d.memLimit})
	if err == nil {
		d.mem[v.ID] = m
	}
	return m, err
}

// create makes the bytes of a new volume, and sets the size of one that
// adopts what is there.
func (d *disks) create(v *san.Volume) error {
	if err := d.notShared(v); err != nil {
		return err
	}
	if v.Driver == san.DriverMem {
		return nil // made at its first use
	}
	if err := d.store.Create(layered.CreateSpec{ID: v.ID, Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock, Adopt: v.Adopted}); err != nil {
		return kindly(v.Name, err)
	}
	if v.Size == 0 {
		st, err := d.store.Stat(v.ID)
		if err != nil {
			return kindly(v.Name, err)
		}
		v.Size = st.Size
	}
	return nil
}

// drop removes the bytes of a volume, if there are any.
func (d *disks) drop(id san.UUID) error {
	d.mu.Lock()
	if m := d.mem[id]; m != nil {
		m.Close()
		delete(d.mem, id)
	}
	d.mu.Unlock()
	if err := d.store.Delete(id); !errors.Is(err, layered.ErrNotFound) {
		return err
	}
	return nil
}

func (d *disks) resize(v *san.Volume, size int64) error {
	if v.Driver == san.DriverMem {
		m, err := d.memory(v)
		if err != nil {
			return err
		}
		return m.Resize(size)
	}
	return kindly(v.Name, d.store.Resize(v.ID, size))
}

// noSnapshots refuses what only layered volumes can do.
func noSnapshots(v *san.Volume) error {
	if v.Driver == san.DriverLayered {
		return nil
	}
	return san.Errorf(san.ErrRefused, "volume %s has the driver %s, which keeps no snapshots; use a volume of the driver layered", v.Name, v.Driver)
}

// usage tells what a volume takes.
func (d *disks) usage(v *san.Volume) (u api.Usage, err error) {
	if v.Driver == san.DriverMem {
		d.mu.Lock()
		defer d.mu.Unlock()
		if m := d.mem[v.ID]; m != nil {
			u.Used = m.Used()
		}
		return u, nil
	}
	st, err := d.store.Stat(v.ID)
	if err != nil {
		u.Problem = err.Error()
		return u, nil
	}
	u.Used, u.Shared = st.Used, st.Shared
	for _, s := range st.Snapshots {
		u.Snapshots = append(u.Snapshots, api.Snapshot{Name: s.Name, Created: s.Created, Size: s.Size})
	}
	return u, nil
}

// merges returns the background work by volume.
func (d *disks) merges() map[san.UUID]layered.Job {
	m := map[san.UUID]layered.Job{}
	for _, j := range d.store.Jobs() {
		m[j.Volume] = j
	}
	return m
}
