// Package crashfs is a model of kernel and disk in memory, for tests: a
// filesystem that dies at a chosen call, and comes back as it might after the
// death of the process, or of the machine.
//
// The page cache survives the process and not the power. After a power cut
// each 512-byte sector written since its file's last sync holds any of the
// versions it had since then, each file any of its sizes, and each name in a
// directory that was not synced any of the files it named: all independent of
// each other, in the worst order that the rules of fsync allow. A call that is
// cut short may have done a part of its work.
package crashfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"

	"sango/internal/block/layered/vfs"
)

// ErrCrashed is what every call returns after the crash.
var ErrCrashed = errors.New("crashfs: the process is dead")

// FS is the model. Its zero value is not ready: New.
type FS struct {
	mu       sync.Mutex
	rnd      *rand.Rand
	root     *node
	boot     byte
	life     int // grows with each restart: older handles are dead
	ops      int
	crashAt  int // the op that dies; 0: none
	dead     bool
	capacity int64 // bytes; 0: no limit
	used     int64
	reflink  bool
	failSync func(name string) error
	locks    map[*node]bool
	trace    []string
	tracing  bool
}

var _ vfs.FS = (*FS)(nil)

// New returns an empty filesystem. Equal seeds make equal choices.
func New(seed uint64) *FS {
	return &FS{rnd: rand.New(rand.NewPCG(seed, 1)), root: newDir(), boot: 1, locks: map[*node]bool{}}
}

// SetReflink says whether files can share extents.
func (f *FS) SetReflink(on bool) { f.reflink = on }

// SetCapacity limits the bytes that files may take; 0: no limit.
func (f *FS) SetCapacity(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacity = bytes
}

// Used returns the bytes that files take.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used
}

// FailSync lets syncs of files fail for which fn returns an error; what they
// should have made stable is not.
func (f *FS) FailSync(fn func(name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failSync = fn
}

// CrashAt lets the process die in the n-th call from now (1 is the next) that
// changes something or syncs; 0: never.
func (f *FS) CrashAt(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashAt = 0
	if n > 0 {
		f.crashAt = f.ops + n
	}
}

// Ops returns how many such calls there were.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Crashed reports whether the process is dead.
func (f *FS) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dead
}

// Trace starts to note the calls that change something or sync.
func (f *FS) Trace() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tracing, f.trace = true, nil
}

// TakeTrace returns what was noted since the last time.
func (f *FS) TakeTrace() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.trace
	f.trace = nil
	return t
}

// Restart brings the filesystem back after the death of the process or, with
// power set, of the machine.
func (f *FS) Restart(power bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life++
	f.dead, f.crashAt, f.failSync = false, 0, nil
	f.locks = map[*node]bool{}
	if !power {
		return
	}
	f.boot++
	f.root.cut(f.rnd)
	f.used = 0
	seen := map[*node]bool{}
	f.root.walk(func(n *node) {
		if n.links++; !seen[n] {
			seen[n] = true
			n.links = 1
			f.used += int64(len(n.cur)) * sector
		}
	})
}

// step counts a call. It returns an error if the process is dead or dies now;
// half is then true if this very call is the one that is cut short.
func (f *FS) step(format string, a ...any) (half bool, err error) {
	if f.dead {
		return false, ErrCrashed
	}
	f.ops++
	if f.tracing {
		f.trace = append(f.trace, fmt.Sprintf(format, a...))
	}
	if f.ops == f.crashAt {
		f.dead = true
		return true, ErrCrashed
	}
	return false, nil
}

// coin is a fair one.
func (f *FS) coin() bool { return f.rnd.IntN(2) == 0 }

func fail(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// find returns the node of a name, and the directory and last element.
func (f *FS) find(name string) (n, dir *node, base string) {
	name = path.Clean("/" + name)
	dir = f.root
	d, base := path.Split(name)
	for _, e := range splitPath(d) {
		if dir = dir.names[e]; dir == nil || dir.names == nil {
			return nil, nil, ""
		}
	}
	if base == "" {
		return f.root, nil, ""
	}
	return dir.names[base], dir, base
}

func splitPath(d string) (parts []string) {
	for d = path.Clean(d); d != "/"; d = path.Dir(d) {
		parts = append(parts, path.Base(d))
	}
	slices.Reverse(parts)
	return parts
}

// Open implements vfs.FS.
func (f *FS) Open(name string, mode vfs.Mode) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return nil, ErrCrashed
	}
	n, dir, base := f.find(name)
	if dir == nil {
		return nil, fail("open", name, fs.ErrNotExist)
	}
	switch {
	case n == nil && (mode == vfs.ReadOnly || mode == vfs.ReadWrite):
		return nil, fail("open", name, fs.ErrNotExist)
	case n != nil && mode == vfs.Create:
		return nil, fail("open", name, fs.ErrExist)
	case n != nil && n.names != nil:
		return nil, fail("open", name, syscall.EISDIR)
	case n == nil:
		half, err := f.step("create %s", name)
		if err == nil || half && f.coin() {
			n = newFile()
			dir.set(base, n)
		}
		if err != nil {
			return nil, err
		}
	case mode == vfs.Replace && n.size > 0:
		if err := f.resize(n, name, 0); err != nil {
			return nil, err
		}
	}
	return &file{f: f, n: n, name: name, life: f.life}, nil
}

// Mkdir implements vfs.FS.
func (f *FS) Mkdir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, dir, base := f.find(name)
	switch {
	case f.dead:
		return ErrCrashed
	case dir == nil:
		return fail("mkdir", name, fs.ErrNotExist)
	case n != nil:
		return fail("mkdir", name, fs.ErrExist)
	}
	half, err := f.step("mkdir %s", name)
	if err == nil || half && f.coin() {
		dir.set(base, newDir())
	}
	return err
}

// ReadDir implements vfs.FS.
func (f *FS) ReadDir(name string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, _, _ := f.find(name)
	switch {
	case f.dead:
		return nil, ErrCrashed
	case n == nil || n.names == nil:
		return nil, fail("readdir", name, fs.ErrNotExist)
	}
	var names []string
	for e := range n.names {
		names = append(names, e)
	}
	slices.Sort(names)
	return names, nil
}

// Stat implements vfs.FS.
func (f *FS) Stat(name string) (vfs.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, _, _ := f.find(name)
	switch {
	case f.dead:
		return vfs.Info{}, ErrCrashed
	case n == nil:
		return vfs.Info{}, fail("stat", name, fs.ErrNotExist)
	}
	return n.info(), nil
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, dir, base := f.find(from)
	old, toDir, toBase := f.find(to)
	if f.dead {
		return ErrCrashed
	}
	if n == nil || toDir == nil {
		return fail("rename", from, fs.ErrNotExist)
	}
	if n == old { // POSIX: two names of one file stay as they are
		return nil
	}
	half, err := f.step("rename %s %s", from, to)
	if err == nil || half && f.coin() {
		n.links++
		toDir.set(toBase, n)
		f.drop(old)
		dir.set(base, nil)
		f.drop(n)
	}
	return err
}

// Link implements vfs.FS.
func (f *FS) Link(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, _, _ := f.find(from)
	old, toDir, toBase := f.find(to)
	switch {
	case f.dead:
		return ErrCrashed
	case n == nil || toDir == nil:
		return fail("link", from, fs.ErrNotExist)
	case old != nil:
		return fail("link", to, fs.ErrExist)
	}
	half, err := f.step("link %s %s", from, to)
	if err == nil || half && f.coin() {
		n.links++
		toDir.set(toBase, n)
	}
	return err
}

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, dir, base := f.find(name)
	switch {
	case f.dead:
		return ErrCrashed
	case n == nil:
		return fail("remove", name, fs.ErrNotExist)
	case len(n.names) > 0:
		return fail("remove", name, syscall.ENOTEMPTY)
	}
	half, err := f.step("remove %s", name)
	if err == nil || half && f.coin() {
		dir.set(base, nil)
		f.drop(n)
	}
	return err
}

// drop takes a name from n. Its space counts as free at once.
func (f *FS) drop(n *node) {
	if n == nil {
		return
	}
	if n.links--; n.links == 0 {
		f.used -= int64(len(n.cur)) * sector
	}
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, _, _ := f.find(name)
	if n == nil || n.names == nil {
		return fail("fsync", name, fs.ErrNotExist)
	}
	if _, err := f.step("syncdir %s", name); err != nil {
		return err
	}
	n.past = map[string][]*node{}
	return nil
}

// Lock implements vfs.FS.
func (f *FS) Lock(name string) (vfs.Lock, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, dir, base := f.find(name)
	switch {
	case f.dead:
		return nil, ErrCrashed
	case dir == nil:
		return nil, fail("lock", name, fs.ErrNotExist)
	case n == nil:
		n = newFile()
		dir.set(base, n)
	}
	if f.locks[n] {
		return nil, fail("lock", name, vfs.ErrLocked)
	}
	f.locks[n] = true
	return &lock{f: f, n: n, life: f.life}, nil
}

type lock struct {
	f    *FS
	n    *node
	life int
}

func (l *lock) Note(b []byte) error {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	if l.f.dead || l.life != l.f.life {
		return ErrCrashed
	}
	if f := l.f; len(b) > 0 && len(l.n.cur) == 0 && f.capacity > 0 && f.used+sector > f.capacity {
		return fail("write", "lock", syscall.ENOSPC)
	}
	l.n.resize(int64(len(b)))
	l.f.used += l.n.write([][]byte{b}, 0, int64(len(b)))
	return nil
}

func (l *lock) Close() error {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	if l.life == l.f.life {
		delete(l.f.locks, l.n)
	}
	return nil
}

// BootID implements vfs.FS.
func (f *FS) BootID() ([16]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return [16]byte{f.boot}, nil
}
