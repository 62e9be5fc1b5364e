package layered

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// setupWait bounds how long a process waits for another one that makes the
// store.
const setupWait = 30 * time.Second

// prepare checks that the directory is a store, or makes it one.
func (s *Store) prepare() error {
	whole, err := s.look()
	if err == nil && !whole {
		err = s.setUp()
	}
	if err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.dir); err != nil { // the process that made it may have died before it did
		return err
	}
	return s.letGo()
}

// look reads what says that the directory is a store, and which. It returns
// false for one that is no store yet, or has no identity.
func (s *Store) look() (bool, error) {
	name := s.dir + "/" + storeName
	b, err := vfs.ReadFile(s.fs, name, storeMaxText)
	switch {
	case errors.Is(err, vfs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case strings.HasPrefix(string(b), "sango-store ") && string(b) != storeText:
		return false, fmt.Errorf("it has format %q, this program knows %q", strings.TrimSpace(string(b)), strings.TrimSpace(storeText))
	case string(b) != storeText:
		return false, fmt.Errorf("%s %w: it holds %q", name, errDamaged, b)
	}
	s.identity, err = s.readIdentity()
	return !s.identity.IsZero(), err
}

// readIdentity returns the store's identity; zero: it has none.
func (s *Store) readIdentity() (san.UUID, error) {
	name := s.dir + "/" + identityName
	b, err := vfs.ReadFile(s.fs, name, storeMaxText)
	if errors.Is(err, vfs.ErrNotExist) {
		return san.UUID{}, nil
	}
	if err != nil {
		return san.UUID{}, err
	}
	id, err := san.ParseUUID(strings.TrimSuffix(string(b), "\n"))
	if err != nil || id.IsZero() {
		return san.UUID{}, fmt.Errorf("%s %w: it holds %q; write the store's identity there again if other gateways know it, else remove the file", name, errDamaged, b)
	}
	return id, nil
}

// setUp makes the directory a store with an identity, or gives one its
// identity that an older program made. Several gateways may be at it at once:
// the first one does it.
func (s *Store) setUp() error {
	if err := mkdirs(s.fs, s.dir+"/"+volumesName); err != nil {
		return err
	}
	lock, err := s.setUpLock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if whole, err := s.look(); whole || err != nil {
		return err
	}
	// It is a store when its last file is there: that has an identity already,
	// unless an older program made it.
	id, err := s.readIdentity()
	if err != nil {
		return err
	}
	if id.IsZero() {
		id = san.NewUUID()
		if err := s.replace(identityName, id.String()+"\n"); err != nil {
			return err
		}
	}
	s.identity = id
	if _, err := s.fs.Stat(s.dir + "/" + storeName); !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	return s.replace(storeName, storeText)
}

func (s *Store) setUpLock() (vfs.Lock, error) {
	for deadline := time.Now().Add(setupWait); ; {
		l, err := s.fs.Lock(s.dir + "/" + lockName)
		if !errors.Is(err, vfs.ErrLocked) {
			return l, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("another process has been making it for %s; try again, or stop that one: %w", setupWait, err)
		}
		<-time.After(lockRetry)
	}
}

// replace puts a file of the store in place, whole or not at all, and stable.
func (s *Store) replace(name, text string) error {
	name = s.dir + "/" + name
	f, err := s.fs.Open(name+tmpSuffix, vfs.Replace)
	if err != nil {
		return err
	}
	err = f.WriteVec([][]byte{[]byte(text)}, 0)
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

// mkdirs makes a directory and those above it, stable. The lowest one that is
// there may have been made by a process that died before it could say so of it.
func mkdirs(fsys vfs.FS, dir string) error {
	up := path.Dir(dir)
	if _, err := fsys.Stat(dir); err == nil {
		if err = fsys.SyncDir(up); errors.Is(err, fs.ErrPermission) {
			err = nil // then that directory is somebody else's, and so is what it holds
		}
		return err
	} else if !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	if err := mkdirs(fsys, up); err != nil {
		return err
	}
	if err := fsys.Mkdir(dir); err != nil && !errors.Is(err, vfs.ErrExist) {
		return err
	}
	return fsys.SyncDir(up)
}

// IdentityOf returns the identity of the store in a directory, and changes
// nothing there; zero: there is no store, or one of an older program.
func IdentityOf(dir string) (san.UUID, error) {
	return (&Store{fs: vfs.OS{}, dir: path.Clean(dir)}).readIdentity()
}
