package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sango/test/harness"
)

// volume is a file that a target serves.
type volume struct {
	file string
	url  string
	size int64
}

// fill brings the file into the page cache in the one state in which comparisons are made: written by 4k requests
// through its own target, over blocks that exist, and clean. Where long writes fill the cache its folios are large,
// which makes each later 4k write several times as expensive.
func (p *perf) fill(ctx context.Context, v *volume) error {
	for _, l := range []load{{pattern: "write", request: 1 << 20, depth: 8}, {pattern: "write", request: 4 << 10, depth: 32}} {
		if err := v.forget(); err != nil {
			return err
		}
		_, _, err := runClient(ctx, 10*time.Minute, p.sango, "bench", v.url, "--destroy", "--raw", "--rw", l.pattern, "--bs", strconv.Itoa(l.request),
			"--depth", strconv.Itoa(l.depth), "--time", "0", "--count", strconv.FormatInt(v.size/int64(l.request), 10))
		if err != nil {
			return err
		}
	}
	if err := v.settle(); err != nil {
		return err
	}
	return v.cached(ctx)
}

// settle writes what is dirty to the disk, so that the next run does not meet the kernel doing it.
func (v *volume) settle() error {
	f, err := os.OpenFile(v.file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// forget drops the file from the page cache.
func (v *volume) forget() error {
	f, err := os.OpenFile(v.file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// cached returns an error unless the whole file is in the page cache: what has to be read again comes in folios of
// another size, and from a disk.
func (v *volume) cached(ctx context.Context) error {
	out, err := harness.Run(ctx, time.Minute, "fincore", "--bytes", "--noheadings", "--raw", "--output", "RES", v.file)
	if err != nil {
		return err
	}
	var n int64
	if _, err := fmt.Sscan(out, &n); err != nil {
		return fmt.Errorf("fincore: %q: %w", out, err)
	}
	if n < v.size-v.size/100 { // the kernel may take a page or two at any time
		return fmt.Errorf("%d of %d bytes of %s are in the page cache: this machine needs more free memory, or -size a smaller value", n, v.size, v.file)
	}
	return nil
}

// fileOf returns the file under dir that holds a volume of so many bytes, of which there must be one.
func fileOf(dir string, size int64) (string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		i, err := e.Info()
		if err == nil && i.Size() == size {
			found = append(found, path)
		}
		return err
	})
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d files of %d bytes in %s, where one was expected", len(found), size, dir)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}
