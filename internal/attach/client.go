package attach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sango/internal/san"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 16 << 20

// call sends a request to the process of an attachment. ErrUnavailable: there
// is none.
func (d Dir) call(ctx context.Context, name, method, path string, out any) error {
	return ask(ctx, d.Socket(name), "attachment "+name, method, path, out)
}

// ask sends a request to the process that listens on socket, and reads its
// answer into out. ErrUnavailable: there is none. who is for errors.
func ask(ctx context.Context, socket, who, method, path string, out any) error {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, method, "http://attachment"+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return san.Errorf(san.ErrRefused, "socket %s: you may not use it; ask as its owner", socket)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return san.Errorf(san.ErrUnavailable, "no process serves %s", who)
	case err != nil:
		return fmt.Errorf("%s: %w", who, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	if resp.StatusCode != http.StatusOK {
		var f failure
		if json.Unmarshal(body, &f) != nil || f.Error == "" {
			f.Error = fmt.Sprintf("%s answered %s", who, resp.Status)
		}
		for _, k := range kinds {
			if k.code == resp.StatusCode {
				return san.Errorf(k.kind, "%s", f.Error)
			}
		}
		return errors.New(f.Error)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s: its answer can't be read: %w", who, err)
	}
	return nil
}

// Status returns how one attachment is. Of one whose process died it tells what
// the state tells, with PhaseDead.
func (d Dir) Status(ctx context.Context, name string) (Status, error) {
	if err := checkName(name); err != nil {
		return Status{}, err
	}
	var s Status
	err := d.call(ctx, name, http.MethodGet, "/status", &s)
	if !errors.Is(err, san.ErrUnavailable) {
		return s, err
	}
	st, ok, err := d.load(name)
	if err != nil {
		return Status{}, err
	}
	if !ok {
		return Status{}, san.Errorf(san.ErrNotFound, "there is no attachment %s", name)
	}
	s = Status{Source: st.Source, As: st.As, Phase: PhaseDead}
	s.Name, s.Size, s.BlockSize, s.Socket = st.Name, st.Size, st.BlockSize, st.Socket
	if boot, err := bootID(); err == nil && boot == st.Boot && st.Device >= 0 {
		s.Device = diskPath(st.As, st.Device)
	}
	return s, nil
}

// diskPath returns the path of the kernel disk n.
func diskPath(as string, n int) string {
	if as == AsUblk {
		return "/dev/ublkb" + strconv.Itoa(n)
	}
	return "/dev/nbd" + strconv.Itoa(n)
}

// List returns how all attachments are, by name.
func (d Dir) List(ctx context.Context) ([]Status, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	all := []Status{}
	for _, name := range names {
		switch s, err := d.Status(ctx, name); {
		case errors.Is(err, san.ErrNotFound): // it ended meanwhile
		case err != nil:
			return nil, err
		default:
			all = append(all, s)
		}
	}
	return all, nil
}

// Find returns the name of the attachment that is called so, or whose disk or
// socket it is.
func (d Dir) Find(ctx context.Context, what string) (string, error) {
	if !strings.Contains(what, "/") {
		if _, err := d.Status(ctx, what); !errors.Is(err, san.ErrNotFound) {
			return what, err
		}
		what = "/dev/" + what
	}
	all, err := d.List(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range all {
		if s.Device == what || s.Socket == what {
			return s.Name, nil
		}
	}
	return "", san.Errorf(san.ErrNotFound, "no attachment is %s; 'sango paths' lists those there are", strings.TrimPrefix(what, "/dev/"))
}

// Detach ends an attachment and returns when nothing of it is left. What the
// process of one left that died is removed with force only, since requests
// that wait in it are lost then; so is a disk that is in use.
func (d Dir) Detach(ctx context.Context, name string, force bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	var none struct{}
	q := url.Values{"force": {strconv.FormatBool(force)}}
	held, _ := os.Stat(d.file(name, lockExt))
	err := d.call(ctx, name, http.MethodPost, "/detach?"+q.Encode(), &none)
	if err == nil {
		d.awaitGone(ctx, name, held)
		return nil
	}
	if !errors.Is(err, san.ErrUnavailable) {
		return err
	}
	l, err := d.takeThere(name)
	if err != nil {
		return err
	}
	gone := false
	defer func() { l.release(gone) }()
	st, ok, err := d.load(name)
	switch {
	case err != nil:
		return err
	case !ok:
		gone = true
		return san.Errorf(san.ErrNotFound, "there is no attachment %s", name)
	case !force:
		return san.Errorf(san.ErrRefused, "the process of attachment %s died: 'sango attach' of the same name takes over what it left; --force removes it, and what was not written is lost", name)
	}
	if err := st.removeLeft(ctx); err != nil {
		return err
	}
	_ = os.Remove(d.Socket(name)) // the dead process can't
	err = d.forget(name)
	gone = err == nil
	return err
}

// The process of an attachment answers before it takes its last files away;
// goneTime bounds how long they are waited for, goneTick is how often.
const (
	goneTime = 3 * time.Second
	goneTick = 5 * time.Millisecond
)

// awaitGone waits until the process that has answered a detach has taken away
// its lock, which is the last it does: then the name can be used again. held is
// the lock as it was; another one is of the next process.
func (d Dir) awaitGone(ctx context.Context, name string, held fs.FileInfo) {
	ctx, cancel := context.WithTimeout(ctx, goneTime)
	defer cancel()
	tick := time.NewTicker(goneTick)
	defer tick.Stop()
	for {
		if now, err := os.Stat(d.file(name, lockExt)); err != nil || !os.SameFile(held, now) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// takeThere takes the lock of an attachment in a directory that is there.
func (d Dir) takeThere(name string) (*lock, error) {
	l, err := d.take(name)
	if errors.Is(err, san.ErrRefused) {
		if in := (*inUse)(nil); !errors.As(err, &in) {
			if _, ok, lerr := d.load(name); lerr == nil && !ok {
				return nil, san.Errorf(san.ErrNotFound, "there is no attachment %s", name)
			}
		}
	}
	return l, err
}

// Optimize asks the target of an attachment to make a target port group the one
// to use (SET TARGET PORT GROUPS).
func (d Dir) Optimize(ctx context.Context, name string, group uint16) error {
	if err := checkName(name); err != nil {
		return err
	}
	var none struct{}
	return d.call(ctx, name, http.MethodPost, "/optimize?group="+strconv.Itoa(int(group)), &none)
}

// SupervisorSocket returns the path of the status socket of the supervisor of
// the host. No attachment can be called so.
func (d Dir) SupervisorSocket() string { return filepath.Join(d.path, ".supervisor.sock") }

// Supervisor reads the status of the supervisor of the host into out.
func (d Dir) Supervisor(ctx context.Context, out any) error {
	return ask(ctx, d.SupervisorSocket(), "the list of attachments (sango host run --config)", http.MethodGet, "/status", out)
}

// Make makes the directory where there is none.
func (d Dir) Make() error { return d.make() }
