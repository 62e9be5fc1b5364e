package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is a filesystem of its own in a file, which can be stuck, slow and full.
type Disk struct {
	Name string
	Path string // where it is mounted

	mu     sync.Mutex // guards what follows
	frozen bool
	filler string
}

// NewDisk makes a disk of size bytes below dir, and mounts it. Its blocks take
// room only when they are written.
func NewDisk(ctx context.Context, dir, name string, size int64) (*Disk, error) {
	base := filepath.Join(dir, name)
	d := &Disk{Name: name, Path: filepath.Join(base, "mount")}
	d.filler = filepath.Join(d.Path, "filler")
	image := filepath.Join(base, "image")
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Create(image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", image},
		{"mount", "-o", "loop,noatime", image, d.Path},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("disk %s: %s: %w: %s", name, args[0], err, strings.TrimSpace(string(out)))
		}
	}
	return d, nil
}

// The requests of <linux/fs.h>.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

func freeze(path string) error { return onDirectory(path, fiFreeze) }

func thaw(path string) error { return onDirectory(path, fiThaw) }

func onDirectory(path string, request uint) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetInt(fd, request, 0), unix.Close(fd))
}

// Freeze makes everybody who writes to the disk wait until Thaw. Not even
// SIGKILL ends a process that waits.
func (d *Disk) Freeze() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen {
		return nil
	}
	err := freeze(d.Path)
	d.frozen = err == nil
	return err
}

// Thaw ends Freeze.
func (d *Disk) Thaw() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.frozen {
		return nil
	}
	d.frozen = false
	return thaw(d.Path)
}

// Slow makes writes wait for up to stuck, again and again, until ctx ends.
func (d *Disk) Slow(ctx context.Context, stuck time.Duration) error {
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		if err := d.Freeze(); err != nil {
			return err
		}
		tick.Reset(stuck)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if err := d.Thaw(); err != nil || ctx.Err() != nil {
			return err
		}
		tick.Reset(stuck / 8)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Fill takes all the room that is left, until Empty.
func (d *Disk) Fill() error {
	f, err := os.OpenFile(d.filler, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// What is free is in pieces: take ever smaller ones.
	at := int64(0)
	for piece := int64(64 << 20); piece >= 4096; piece /= 4 {
		for err == nil {
			if err = unix.Fallocate(int(f.Fd()), 0, at, piece); err == nil {
				at += piece
			}
		}
		if !errors.Is(err, unix.ENOSPC) {
			break
		}
		err = nil
	}
	return errors.Join(err, f.Close())
}

// Empty ends Fill.
func (d *Disk) Empty() error {
	if err := os.Remove(d.filler); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Close unmounts the disk. Its users have ended.
func (d *Disk) Close() error {
	return errors.Join(d.Thaw(), unix.Unmount(d.Path, unix.MNT_DETACH))
}
