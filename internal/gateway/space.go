package gateway

import (
	"fmt"
	"syscall"

	"sango/internal/api"
	"sango/internal/san"
)

// Space below which a node complains.
const (
	lowSpace        = 1 << 30 // bytes
	lowSpacePercent = 3
)

// room is the space of a filesystem, in bytes.
type room struct {
	free, total int64
	device      uint64
}

// roomOf returns the space of the filesystem that holds dir.
func roomOf(dir string) (r room, err error) {
	var fs syscall.Statfs_t
	var st syscall.Stat_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return r, err
	}
	if err := syscall.Stat(dir, &st); err != nil {
		return r, err
	}
	return room{int64(fs.Bavail) * fs.Bsize, int64(fs.Blocks) * fs.Bsize, st.Dev}, nil
}

// low reports whether there is too little of it.
func (r room) low() bool { return r.free < lowSpace || r.free < r.total/100*lowSpacePercent }

// holding is what a directory has in it, which says what its disk is needed for.
type holding int

const (
	everything holding = iota
	metadataAlone
	volumesAlone
)

// problem says what is wrong with the free space, "" if nothing is.
func (h holding) problem(dir string, r room) string {
	if !r.low() {
		return ""
	}
	left := fmt.Sprintf("%s has only %s of %s free", dir, san.FormatSize(r.free), san.FormatSize(r.total))
	switch h {
	case metadataAlone:
		return fmt.Sprintf("the disk that holds %s; the metadata takes no changes when it is full: free space there, or move the directory", left)
	case volumesAlone:
		return fmt.Sprintf("the disk that holds the volumes in %s; they stop taking writes when it is full: free space, delete snapshots or move them to a larger disk", left)
	}
	return fmt.Sprintf("the disk that holds %s; volumes stop taking writes when it is full: free space, delete snapshots or move the directory", left)
}

// addSpace tells of the space of a node's volumes, and of that of its directory
// where this is on another filesystem; volumes is "" where it has none.
func addSpace(st *api.Status, volumes string) {
	look := func(dir string) (room, bool) {
		r, err := roomOf(dir)
		if err != nil {
			st.Problems = append(st.Problems, fmt.Sprintf("the directory %s can't be looked at: %v", dir, err))
		}
		return r, err == nil
	}
	tell := func(h holding, dir string, r room) {
		if p := h.problem(dir, r); p != "" {
			st.Problems = append(st.Problems, p)
		}
	}
	own, ok := look(st.Dir)
	if volumes == "" {
		if ok {
			st.StoreFree, st.StoreSize = own.free, own.total
			tell(metadataAlone, st.Dir, own)
		}
		return
	}
	bytes, there := look(volumes)
	if there {
		st.StoreFree, st.StoreSize = bytes.free, bytes.total
	}
	switch {
	case !there || !ok:
	case own.device == bytes.device:
		tell(everything, volumes, bytes)
		return
	default:
		st.DirFree, st.DirSize = own.free, own.total
	}
	if there {
		tell(volumesAlone, volumes, bytes)
	}
	if ok {
		tell(metadataAlone, st.Dir, own)
	}
}
