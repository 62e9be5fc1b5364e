package attach

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// Dir is a host directory; see the package's comment.
type Dir struct{ path string }

// DefaultDir returns the host directory to use where none is named:
// $SANGO_HOST_DIR, /var/lib/sango-host for root, and for others sango-host
// in $XDG_STATE_HOME.
func DefaultDir() (string, error) {
	if d := os.Getenv("SANGO_HOST_DIR"); d != "" {
		return d, nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/sango-host", nil
	}
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "sango-host"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", san.Errorf(san.ErrInvalid, "which host directory? name it with --host-dir or SANGO_HOST_DIR: %v", err)
	}
	return filepath.Join(home, ".local", "state", "sango-host"), nil
}

// UseDir returns the host directory path, whether it exists or not.
func UseDir(path string) (Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Dir{}, fmt.Errorf("host directory %s: %w", path, err)
	}
	if n := len(filepath.Join(abs, strings.Repeat("x", maxName)+socketExt)); n > maxSocketPath {
		return Dir{}, san.Errorf(san.ErrInvalid, "host directory %s: its path is %d bytes too long for the sockets in it; choose another with --host-dir", abs, n-maxSocketPath)
	}
	return Dir{abs}, nil
}

// The names of files of an attachment.
const (
	lockExt   = ".lock"
	stateExt  = ".json"
	socketExt = ".sock"
	hostName  = "initiatorname"
)

// maxSocketPath is the longest path of a unix socket.
const maxSocketPath = 107

// Path returns where the directory is.
func (d Dir) Path() string { return d.path }

func (d Dir) file(name, ext string) string { return filepath.Join(d.path, name+ext) }

// Socket returns the path of an attachment's status socket.
func (d Dir) Socket(name string) string { return d.file(name, socketExt) }

// make makes the directory where there is none.
func (d Dir) make() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return san.Errorf(san.ErrRefused, "host directory %s can't be made: %v; choose another with --host-dir, or fix its permissions", d.path, err)
	}
	return nil
}

// names returns the attachments that have a state, in order.
func (d Dir) names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("host directory: %w", err)
	}
	var names []string
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), stateExt); ok && checkName(n) == nil {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	return names, nil
}

// lock is the right to serve an attachment. The kernel gives it up when the
// process dies, however it dies.
type lock struct{ f *os.File }

// take takes the lock of an attachment. ErrRefused: another process has it.
func (d Dir) take(name string) (*lock, error) {
	path := d.file(name, lockExt)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, san.Errorf(san.ErrRefused, "host directory %s is not writable: %v; choose another with --host-dir, or fix its permissions", d.path, err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			holder, _ := io.ReadAll(io.LimitReader(f, 32))
			f.Close()
			if !errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("lock of attachment %s: %w", name, err)
			}
			return nil, &inUse{san.Errorf(san.ErrRefused, "attachment %s is served by process %s; detach it first, or choose another name with --name", name, strings.TrimSpace(string(holder)))}
		}
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock of attachment %s: %w", name, err)
		}
		if there, err := os.Stat(path); err != nil || !os.SameFile(mine, there) {
			f.Close() // its last holder took it away meanwhile
			continue
		}
		err = f.Truncate(0)
		if err == nil {
			_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
		}
		if err != nil {
			f.Close()
			return nil, san.Errorf(san.ErrRefused, "host directory %s is not writable: %v; make room or fix its permissions", d.path, err)
		}
		return &lock{f}, nil
	}
}

// inUse is what errors are that say that a living process has the attachment.
type inUse struct{ error }

func (e *inUse) Unwrap() error { return e.error }

// release gives the lock up. With gone its file goes too.
func (l *lock) release(gone bool) {
	if gone {
		_ = os.Remove(l.f.Name())
	}
	_ = l.f.Close()
}

// initiator returns the iSCSI name of the host, which it makes at its first
// use.
func (d Dir) initiator() (string, error) {
	path := filepath.Join(d.path, hostName)
	for {
		b, err := os.ReadFile(path)
		if err == nil {
			name := strings.TrimSpace(string(b))
			if err := iscsi.CheckName(name); err != nil {
				return "", san.Errorf(san.ErrInvalid, "%s: %v; correct it, or remove it for a new name", path, err)
			}
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("name of this host: %w", err)
		}
		var id [6]byte
		_, _ = rand.Read(id[:]) // never fails
		tmp := fmt.Sprintf("%s.%x.tmp", path, id)
		if err := writeSynced(tmp, []byte("iqn.2026-11.io.sango:host-"+hex.EncodeToString(id[:])+"\n")); err != nil {
			return "", fmt.Errorf("name of this host: %w", err)
		}
		err = os.Link(tmp, path) // unlike a rename it leaves alone what another process made
		_ = os.Remove(tmp)
		if err == nil {
			err = syncDir(d.path)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("name of this host: %w", err)
		}
	}
}

// writeSynced writes a file and makes it stable.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replaceFile puts b in the place of path, whole and stable.
func replaceFile(path string, b []byte) error {
	tmp := path + ".tmp"
	err := writeSynced(tmp, b)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
