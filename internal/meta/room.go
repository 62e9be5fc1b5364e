package meta

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"sango/internal/san"
)

// etcd ends the process when a write of its own meets a full disk: of its log,
// which it allocates a segment ahead, or of its database, which it does not.
// Volumes fill disks, so that a node must be able to live on one that is full.
// Hence the database has room allocated ahead too, and when the disk is nearly
// full the store takes only as many more changes as fit into what is there.
const (
	// roomAhead is what the database file has allocated beyond its size, in bytes.
	roomAhead = 2 * walSegment
	// roomLow is the free space below which changes are counted, in bytes: the
	// next segment of the log and some.
	roomLow = 2 * walSegment
	// roomLast is what changes may add then, in bytes of keys and values.
	roomLast = walSegment / 4
)

// room knows whether the store's disk has space for a change.
type room struct {
	db   string
	free func() (int64, error) // bytes that the filesystem has left

	mu       sync.Mutex // guards what follows
	reserved int64      // bytes of db that are allocated
	used     int64      // bytes of changes since the disk was low
}

func newRoom(dir string) *room {
	r := &room{db: filepath.Join(dir, "etcd", "member", "snap", "db")}
	r.free = func() (int64, error) { return freeSpace(dir) }
	return r
}

// freeSpace returns the bytes that the filesystem which holds dir has left.
func freeSpace(dir string) (int64, error) {
	var st syscall.Statfs_t
	err := syscall.Statfs(dir, &st)
	return int64(st.Bavail) * st.Bsize, err
}

// checkStart refuses a first start in dir where the disk has no room for what
// etcd allocates then, because etcd panics halfway. A store that is there has
// what it needs to start.
func checkStart(dir string, free func(string) (int64, error)) error {
	const least = 2*walSegment + roomLow + roomAhead // with the log made, the room ahead can be too
	logs, err := filepath.Glob(filepath.Join(dir, "etcd", "member", "wal", "*.wal"))
	if err != nil || len(logs) > 0 {
		return err
	}
	n, err := free(dir)
	if err != nil {
		return fmt.Errorf("the disk of the metadata in %s can't be looked at: %w", dir, err)
	}
	if n < least {
		return fmt.Errorf("the disk that holds %s has only %s free, and a node needs at least %s to start: free space, or choose a directory on another disk with --dir", dir, san.FormatSize(n), san.FormatSize(least))
	}
	return nil
}

// take asks for a change of n bytes. ErrUnavailable: there is no room for it.
// Changes that lead to free space have twice the room of others. A store that
// others run looks after its own disk.
func (r *room) take(n int64, frees bool) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	free, err := r.free()
	if err != nil {
		return san.Errorf(san.ErrUnavailable, "the disk of the metadata can't be looked at: %v", err)
	}
	ahead := r.reserve(free)
	if free >= roomLow && ahead {
		r.used = 0
		return nil
	}
	last := int64(roomLast)
	if frees {
		last *= 2
	}
	if r.used+n > last {
		return san.Errorf(san.ErrUnavailable, "the disk that holds the metadata has only %s free, so that nothing can be changed: free space, or delete snapshots or volumes", san.FormatSize(free))
	}
	r.used += n
	return nil
}

// keepSize lets fallocate(2) allocate behind the end of a file.
const keepSize = 1

// reserve keeps room allocated behind the database, and reports whether at
// least half of what is wanted is there. r.mu is held.
func (r *room) reserve(free int64) bool {
	var st syscall.Stat_t
	if err := syscall.Stat(r.db, &st); err != nil {
		return false
	}
	r.reserved = max(r.reserved, st.Blocks*512) // an earlier process did it
	if r.reserved-st.Size > roomAhead/2 {
		return true
	}
	if free < roomLow+roomAhead {
		return false
	}
	f, err := os.OpenFile(r.db, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	want := st.Size + roomAhead
	switch err := syscall.Fallocate(int(f.Fd()), keepSize, 0, want); {
	case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
		return true // there is nothing but the free space to go by
	case err != nil:
		return false
	}
	r.reserved = want
	return true
}
