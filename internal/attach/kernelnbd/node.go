package kernelnbd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// sysfs is where the kernel shows its disks.
const sysfs = "/sys/block"

// nodes returns the NBD disks that have a node, used or not.
func nodes() map[int]bool {
	all := map[int]bool{}
	list, _ := os.ReadDir(sysfs) // none, if it cannot be read
	for _, e := range list {
		var n int
		if _, err := fmt.Sscanf(e.Name(), "nbd%d", &n); err == nil {
			all[n] = true
		}
	}
	return all
}

// exists reports whether the disk has a node, used or not.
func exists(index int) bool { return nodes()[index] }

// backendOf returns the backend identifier of a disk; "" when it has none, or
// the kernel doesn't know such.
func backendOf(index int) string {
	b, err := os.ReadFile(fmt.Sprintf("%s/nbd%d/backend", sysfs, index))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// release is the kernel's, as uname says.
func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// path is the name of the disk's node.
func path(index int) string { return fmt.Sprintf("/dev/nbd%d", index) }

// syncNode writes the dirty pages of a disk, of which a disconnect knows
// nothing. The system call can't be interrupted: when ctx ends before, it goes
// on by itself.
func syncNode(ctx context.Context, node string) error {
	done := make(chan error, 1)
	go func() {
		f, err := os.Open(node)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) {
			done <- nil // nobody can have used it
			return
		}
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("nbd: write what %s has in memory: %w", node, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("nbd: write what %s has in memory: %w", node, ctx.Err())
	}
}
