package layered

import (
	"fmt"
	"log/slog"
	"path"
	"sync"
	"time"

	"golang.org/x/time/rate"

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
	identityName = "identity"
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
// Several processes may use the directory at once, and several gateways of one
// process one Store: of a volume, one of them all at a time.
type Store struct {
	fs       vfs.FS
	dir      string
	segment  int64
	log      *slog.Logger
	boot     [16]byte
	self     holder
	identity san.UUID
	newID    func() layerID
	full     fullNote

	mu       sync.Mutex // guards what follows
	rate     int64
	shut     bool
	entries  map[san.UUID]*entry
	jobGroup sync.WaitGroup
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

// Identity names the directory: it is the same for all that use it, on
// whatever path, and stays what it is.
func (s *Store) Identity() san.UUID { return s.identity }

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

// with runs fn on a volume, open or not, as the only operation that changes
// its manifest.
func (s *Store) with(id san.UUID, what string, fn func(e *entry, v *volume) error) error {
	e, err := s.acquire(id)
	if err == nil {
		e.v.control.Lock()
		if err = e.v.readyErr(); err == nil {
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
