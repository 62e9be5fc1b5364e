package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// fill brings files of one size into the page cache in the one state in which comparisons are made: written 4k by 4k, over
// blocks that exist, and clean. Where long writes fill the cache its folios are large, which makes each later 4k write
// several times as expensive. The files take turns page by page, past their targets, so that none gets the pages that
// lie better in memory: of two files that were filled one after the other, one was read a third faster.
func fill(ctx context.Context, volumes ...*volume) error {
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close() // it is on the disk by then, or there is another error
		}
	}()
	for _, v := range volumes {
		f, err := os.OpenFile(v.file, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	data := make([]byte, 1<<20)
	if _, err := rand.Read(data); err != nil {
		return err
	}
	for _, request := range []int{1 << 20, 4 << 10} {
		for off := int64(0); off < volumes[0].size; off += int64(request) {
			if off%(1<<20) == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			at := int(off % int64(len(data)))
			for _, f := range files {
				if _, err := f.WriteAt(data[at:at+request], off); err != nil {
					return err
				}
			}
		}
		for _, f := range files {
			if err := f.Sync(); err != nil {
				return err
			}
			if request == 4<<10 {
				continue
			}
			if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
				return err
			}
		}
	}
	for _, v := range volumes {
		if err := v.cached(ctx); err != nil {
			return err
		}
	}
	return nil
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
	if n < v.size-v.size/20 { // virtual machines lose a few pages to their host at any time, also with much memory free
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
