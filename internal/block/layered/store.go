package layered

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"sango/internal/block"
	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

const (
	// DefaultSegment is the most bytes that go in one file of a layer: what
	// every filesystem in use can hold (ext4 ends at 16 TiB, or at 4 TiB with
	// 1 KiB blocks).
	DefaultSegment = 2 << 40
	// DefaultRate is that of background work, in bytes a second and volume.
	DefaultRate = 200_000_000

	storeName    = "store"
	storeText    = "sango-store 1\n"
	volumesName  = "volumes"
	storeMaxText = 4096
)

// Options are those of a store. The zero value is ready.
type Options struct {
	FS      vfs.FS       // nil: the machine's
	Segment int64        // bytes a file of a layer; 0: DefaultSegment. Multiple of 64 KiB
	Rate    int64        // background work, bytes a second and volume; 0: DefaultRate, < 0: no limit
	Log     *slog.Logger // nil: the default
}

// Store is a directory of volumes. All methods may be called from any
// goroutine. Volumes are read when they are first asked for, never before.
type Store struct {
	fs      vfs.FS
	dir     string
	segment int64
	log     *slog.Logger
	boot    [16]byte
	self    holder
	newID   func() layerID
	full    fullNote

	mu       sync.Mutex // guards what follows
	rate     int64
	shut     bool
	entries  map[san.UUID]*entry
	jobGroup sync.WaitGroup
}

// entry is a volume that somebody uses, or is about to.
type entry struct {
	users  int        // guarded by Store.mu: goroutines that hold a reference or wait for mu
	mu     sync.Mutex // held while the volume is loaded or unloaded; guards what follows
	v      *volume
	shown  atomic.Pointer[volume] // v, for those that don't wait for mu
	refs   int
	device *device // the open one
}

// OpenStore opens the store in dir, and makes one there if there is none.
func OpenStore(dir string, o Options) (*Store, error) {
	s := &Store{
		fs: o.FS, dir: path.Clean(dir), segment: o.Segment, log: o.Log, rate: o.Rate,
		newID: san.NewUUID, entries: map[san.UUID]*entry{},
		full: fullNote{began: time.Now()},
	}
	if s.fs == nil {
		s.fs = vfs.OS{}
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.segment == 0 {
		s.segment = DefaultSegment
	}
	if s.rate == 0 {
		s.rate = DefaultRate
	}
	if s.segment < clusterSize || s.segment%clusterSize != 0 {
		return nil, fmt.Errorf("%w: segments of %d bytes: want a multiple of %d", ErrSpec, s.segment, clusterSize)
	}
	var err error
	if s.boot, err = s.fs.BootID(); err != nil {
		return nil, fmt.Errorf("find out the boot id: %w", err)
	}
	if s.self, err = self(s.boot); err != nil {
		return nil, fmt.Errorf("find out this process's start time: %w", err)
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("open store %s: %w", s.dir, err)
	}
	return s, nil
}

// prepare checks that the directory is a store, or makes it one.
func (s *Store) prepare() error {
	name := s.dir + "/" + storeName
	b, err := vfs.ReadFile(s.fs, name, storeMaxText)
	switch {
	case err == nil && string(b) == storeText:
		if err := s.fs.SyncDir(s.dir); err != nil { // the process that made it may have died before it did
			return err
		}
		return s.letGo()
	case err == nil && strings.HasPrefix(string(b), "sango-store "):
		return fmt.Errorf("it has format %q, this program knows %q", strings.TrimSpace(string(b)), strings.TrimSpace(storeText))
	case err == nil:
		return fmt.Errorf("%s %w: it holds %q", name, errDamaged, b)
	case !errors.Is(err, vfs.ErrNotExist):
		return err
	}
	if err := mkdirs(s.fs, s.dir+"/"+volumesName); err != nil {
		return err
	}
	f, err := s.fs.Open(name+tmpSuffix, vfs.Replace)
	if err != nil {
		return err
	}
	err = f.WriteVec([][]byte{[]byte(storeText)}, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := s.fs.Rename(name+tmpSuffix, name); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// letGo gives up what directories without a manifest (a clone or a deletion
// that was cut short) hold of other volumes' layers, which can't be merged into
// until then. Files with no other name stay: whose manifest got lost may want
// them back.
func (s *Store) letGo() error {
	names, err := s.fs.ReadDir(s.dir + "/" + volumesName)
	if err != nil {
		return err
	}
	for _, n := range names {
		id, err := san.ParseUUID(n)
		if err != nil {
			continue
		}
		dir := s.volumeDir(id)
		if _, err := s.fs.Stat(dir + "/" + manifestName); !errors.Is(err, vfs.ErrNotExist) {
			continue
		}
		if err := s.letGoOf(dir); err != nil {
			s.log.Warn("left-overs of an unfinished volume not removed", "dir", dir, "error", err)
		}
	}
	return nil
}

func (s *Store) letGoOf(dir string) error {
	lock, err := s.fs.Lock(dir + "/" + lockName)
	if errors.Is(err, vfs.ErrLocked) {
		return nil // it is being made or deleted right now
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := s.fs.Stat(dir + "/" + manifestName); !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	if err := s.fs.SyncDir(dir); err != nil { // as in empty
		return err
	}
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if info, err := s.fs.Stat(dir + "/" + n); err != nil || info.Links < 2 {
			continue
		}
		if err := s.fs.Remove(dir + "/" + n); err != nil {
			return err
		}
	}
	return nil
}

// mkdirs makes a directory and those above it, stable.
func mkdirs(fsys vfs.FS, dir string) error {
	if _, err := fsys.Stat(dir); err == nil || !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	up := path.Dir(dir)
	if err := mkdirs(fsys, up); err != nil {
		return err
	}
	if err := fsys.Mkdir(dir); err != nil && !errors.Is(err, vfs.ErrExist) {
		return err
	}
	return fsys.SyncDir(up)
}

func (s *Store) volumeDir(id san.UUID) string {
	return s.dir + "/" + volumesName + "/" + id.String()
}

// List returns the ids of the volumes, without reading them.
func (s *Store) List() ([]san.UUID, error) {
	names, err := s.fs.ReadDir(s.dir + "/" + volumesName)
	if err != nil {
		return nil, err
	}
	ids := make([]san.UUID, 0, len(names))
	for _, n := range names {
		id, err := san.ParseUUID(n)
		if err != nil {
			continue
		}
		if _, err := s.fs.Stat(s.volumeDir(id) + "/" + manifestName); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// OpenOptions say how a volume is opened.
type OpenOptions struct {
	// Epoch is the epoch of the owner; requests of another one end with Fenced,
	// and a volume that a later one has had does not open (ErrFenced). 0: no
	// ownership.
	Epoch san.Epoch
	// Fence kills the process that holds the volume, if one does (DESIGN R2).
	Fence bool
	// ReadOnly refuses changes.
	ReadOnly bool
}

// Open opens a volume. ErrNotFound, ErrInUse, ErrDamaged.
func (s *Store) Open(id san.UUID) (block.Device, error) { return s.OpenAs(id, OpenOptions{}) }

// OpenAs is Open with options. Merges that were cut short go on in the
// background.
func (s *Store) OpenAs(id san.UUID, o OpenOptions) (block.Device, error) {
	e, err := s.acquire(id, o)
	if err != nil {
		return nil, fmt.Errorf("open volume %s: %w", id, err)
	}
	e.mu.Lock()
	if e.device != nil {
		e.mu.Unlock()
		return nil, errors.Join(fmt.Errorf("open volume %s: %w: close it first", id, ErrInUse), s.release(id, e))
	}
	// It may have been loaded before, for background work or a snapshot.
	if err := s.claim(e.v, o.Epoch); err != nil {
		e.mu.Unlock()
		return nil, errors.Join(fmt.Errorf("open volume %s: %w", id, err), s.release(id, e))
	}
	d := &device{v: e.v, w: &e.v.live, epoch: o.Epoch, readOnly: o.ReadOnly}
	e.device = d
	e.mu.Unlock()
	s.kick(id, e)
	return d, nil
}

// acquire takes a reference on a volume, and loads it if it is the first.
func (s *Store) acquire(id san.UUID, o OpenOptions) (*entry, error) {
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	e := s.entries[id]
	if e == nil {
		e = new(entry)
		s.entries[id] = e
	}
	e.users++
	s.mu.Unlock()
	e.mu.Lock()
	if e.v == nil {
		v, err := s.load(id, o)
		if err != nil {
			e.mu.Unlock()
			s.forget(id, e)
			return nil, err
		}
		e.v = v
		e.shown.Store(v)
		s.mu.Lock()
		v.jobs.setRate(s.rate) // it may have changed meanwhile
		s.mu.Unlock()
	}
	e.refs++
	e.mu.Unlock()
	return e, nil
}

// release gives a reference up, and unloads the volume if it was the last.
func (s *Store) release(id san.UUID, e *entry) (err error) {
	e.mu.Lock()
	if e.refs--; e.refs == 0 {
		err = e.v.unload()
		if lerr := e.v.lock.Close(); err == nil {
			err = lerr
		}
		e.v = nil
		e.shown.Store(nil)
	}
	e.mu.Unlock()
	s.forget(id, e)
	return err
}

func (s *Store) forget(id san.UUID, e *entry) {
	s.mu.Lock()
	if e.users--; e.users == 0 {
		delete(s.entries, id)
	}
	s.mu.Unlock()
}

func (s *Store) load(id san.UUID, o OpenOptions) (*volume, error) {
	dir := s.volumeDir(id)
	if _, err := s.fs.Stat(dir + "/" + manifestName); err != nil {
		if errors.Is(err, vfs.ErrNotExist) {
			err = ErrNotFound
		}
		return nil, err
	}
	lock, err := s.lockVolume(dir, o.Epoch, o.Fence)
	if err != nil {
		return nil, err
	}
	v := &volume{s: s, fs: s.fs, id: id, dir: dir, lock: lock, boot: s.boot}
	s.mu.Lock()
	v.jobs.init(s.rate)
	s.mu.Unlock()
	if err := v.load(); err != nil {
		if errors.Is(err, vfs.ErrNotExist) {
			err = fmt.Errorf("%w: a file is missing: %w", errDamaged, err)
		}
		lock.Close()
		return nil, err
	}
	return v, nil
}

// closed is called by a device that was closed.
func (s *Store) closed(d *device) error {
	s.mu.Lock()
	e := s.entries[d.v.id]
	s.mu.Unlock()
	e.mu.Lock()
	if e.device == d {
		e.device = nil
	}
	e.mu.Unlock()
	if d.snapshot != "" {
		v := d.v
		v.control.Lock()
		v.gate.Lock()
		if d.w.readers--; d.w.readers == 0 {
			delete(v.views, d.snapshot)
		}
		v.gate.Unlock()
		v.control.Unlock()
	}
	return s.release(d.v.id, e)
}

// with runs fn on a volume, open or not, as the only operation that changes
// its manifest.
func (s *Store) with(id san.UUID, what string, fn func(e *entry, v *volume) error) error {
	e, err := s.acquire(id, OpenOptions{})
	if err == nil {
		e.v.control.Lock()
		if err = e.v.failedErr(); err == nil {
			err = fn(e, e.v)
		}
		e.v.control.Unlock()
		if rerr := s.release(id, e); err == nil {
			err = rerr
		}
	}
	if err != nil {
		return fmt.Errorf("%s volume %s: %w", what, id, err)
	}
	return nil
}

// SetRate sets the rate of background work, in bytes a second and volume;
// 0 or less: no limit.
func (s *Store) SetRate(bytes int64) {
	if bytes <= 0 {
		bytes = -1
	}
	s.mu.Lock()
	s.rate = bytes
	s.mu.Unlock()
	for _, v := range s.loaded() {
		v.jobs.setRate(bytes)
	}
}

// loaded returns the volumes that are loaded.
func (s *Store) loaded() (list []*volume) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if v := e.shown.Load(); v != nil {
			list = append(list, v)
		}
	}
	return list
}

func limit(bytes int64) rate.Limit {
	if bytes <= 0 {
		return rate.Inf
	}
	return rate.Limit(bytes)
}

// Close stops background work and waits for it. The devices have been closed
// before: ErrInUse if not.
func (s *Store) Close() error {
	s.mu.Lock()
	s.shut = true
	s.mu.Unlock()
	for _, v := range s.loaded() {
		v.jobs.stop()
	}
	s.jobGroup.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.entries {
		if e.users > 0 {
			return fmt.Errorf("close store %s: volume %s is %w: close it first", s.dir, id, ErrInUse)
		}
	}
	return nil
}
