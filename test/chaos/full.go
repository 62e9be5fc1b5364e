package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"sango/internal/block/layered/vfs"
	"sango/test/chaos/world"
)

// zeroOnFullDisk zeroes a range with a hole in it on a full disk, which fails
// there, because zeros that stay allocated need room. It may be done in part;
// but it must not bring back what was overwritten before.
func zeroOnFullDisk(ctx context.Context, dir string) error {
	const page = 4096
	d, err := world.NewDisk(ctx, dir, "full", 64<<20)
	if err != nil {
		return err
	}
	f, err := (vfs.OS{}).Open(filepath.Join(d.Path, "file"), vfs.Create)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	// Pages 0 to 3 and 5 to 8: what is on the disk, and what came later.
	old, later := bytes.Repeat([]byte{'a'}, 4*page), bytes.Repeat([]byte{'b'}, 4*page)
	write := func(b []byte) error {
		return errors.Join(f.WriteVec([][]byte{b}, 0), f.WriteVec([][]byte{b}, 5*page))
	}
	err = errors.Join(write(old), f.Sync(), d.Fill(), write(later))
	found := make([]byte, 9*page)
	zeroed := f.Zero(0, 9*page)
	err = errors.Join(err, f.ReadVec([][]byte{found}, 0), f.Close(), d.Close())
	switch {
	case err != nil:
		return err
	case zeroed == nil:
		return errors.New("a full disk: zeroing a hole did not fail, so that nothing was tested")
	case bytes.IndexByte(found, 'a') >= 0:
		return fmt.Errorf("a full disk: what was overwritten is there again at byte %d, after: %w", bytes.IndexByte(found, 'a'), zeroed)
	}
	return nil
}
