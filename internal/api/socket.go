package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"sango/internal/san"
)

// SocketName is the file in a node's directory that its management socket is
// bound to.
const SocketName = "api.sock"

// maxSocketPath is the longest path that fits a unix socket address.
const maxSocketPath = 107

// SocketPath returns the management socket of the node in dir.
func SocketPath(dir string) string { return filepath.Join(dir, SocketName) }

// short calls f with a name of path that fits a socket address: the path, or
// one through an open descriptor of its directory.
func short(path string, f func(string) error) error {
	if len(path) <= maxSocketPath {
		return f(path)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), filepath.Base(path)))
}

// Listen binds the management socket of the node in dir, for its owner alone
// (mode 0600). The caller holds the lock of dir, so a socket that is there
// already belongs to a dead process.
func Listen(dir string) (net.Listener, error) {
	path := SocketPath(dir)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("management socket: %w", err)
	}
	var l net.Listener
	err := short(path, func(name string) error {
		ul, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			return err
		}
		ul.SetUnlinkOnClose(false) // by a name that may be gone; the caller's directory is locked
		l = ul
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		if l != nil {
			l.Close()
		}
		return nil, fmt.Errorf("management socket %s: %w", path, err)
	}
	return l, nil
}

// dial connects to the management socket of the node in dir.
func dial(ctx context.Context, dir string) (c net.Conn, err error) {
	path := SocketPath(dir)
	err = short(path, func(name string) error {
		c, err = (&net.Dialer{}).DialContext(ctx, "unix", name)
		return err
	})
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, os.ErrPermission):
		return nil, san.Errorf(san.ErrRefused, "no permission for %s; run as the user that runs the node", path)
	}
	if _, serr := os.Stat(dir); errors.Is(serr, os.ErrNotExist) {
		return nil, san.Errorf(san.ErrUnavailable, "no sango is serving %s, there is no such directory; name the right one with --dir, or start 'sango demo --dir %s'", dir, dir)
	}
	return nil, san.Errorf(san.ErrUnavailable, "no sango is serving %s; start its gateway ('sango gateway run --config FILE', or 'sango demo --dir %s' if it is a demo's), or name the right directory with --dir", dir, dir)
}
