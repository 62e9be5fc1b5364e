package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"sango/test/harness"
)

const tgtName = "iqn.2026-11.test.perf:tgt"

// tgtd is Debian's tgtd as it comes, with one file at LUN 1.
type tgtd struct {
	*process
	control, addr string
	file          string
}

// startTgtd starts tgtd over a new file of so many bytes in dir.
func startTgtd(ctx context.Context, dir string, size int64) (*tgtd, error) {
	addr, port, err := freePort()
	if err != nil {
		return nil, err
	}
	// The control socket has a number below 32768, which no other tgtd may have.
	t := &tgtd{control: strconv.Itoa(port & 0x7fff), addr: addr, file: filepath.Join(dir, "tgt.img")}
	f, err := os.Create(t.file)
	if err != nil {
		return nil, err
	}
	err = f.Truncate(size)
	f.Close()
	if err != nil {
		return nil, err
	}
	if t.process, err = startProcess(dir, "tgtd", "-f", "-C", t.control, "--iscsi", "portal="+addr); err != nil {
		return nil, err
	}
	if err := t.setUp(ctx); err != nil {
		t.stop()
		return nil, err
	}
	return t, nil
}

func (t *tgtd) setUp(ctx context.Context) error {
	if err := t.await(ctx, func() error { return t.admin(ctx, "target", "show") }); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"target", "new", "--tid", "1", "-T", tgtName},
		{"logicalunit", "new", "--tid", "1", "--lun", "1", "-b", t.file},
		// QEMU asks a thin volume before long reads what is allocated, and a thick one not. Sango's are thin.
		{"logicalunit", "update", "--tid", "1", "--lun", "1", "--params", "thin_provisioning=1"},
		{"target", "bind", "--tid", "1", "-I", "ALL"},
	} {
		if err := t.admin(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (t *tgtd) admin(ctx context.Context, args ...string) error {
	all := append([]string{"-C", t.control, "--lld", "iscsi", "--mode", args[0], "--op", args[1]}, args[2:]...)
	_, err := harness.Run(ctx, 10*time.Second, "tgtadm", all...)
	return err
}

func (t *tgtd) url() string { return fmt.Sprintf("iscsi://%s/%s/1", t.addr, tgtName) }

// stop ends tgtd at once: it takes no notice of SIGTERM.
func (t *tgtd) stop() {
	t.end(syscall.SIGKILL)
	socket := "/var/run/tgtd/socket." + t.control
	_ = os.Remove(socket) // where it made none there is nothing to remove
	_ = os.Remove(socket + ".lock")
}

// freePort returns an address of loopback that nobody listens on.
func freePort() (string, int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", 0, err
	}
	defer l.Close()
	a := l.Addr().(*net.TCPAddr)
	return a.String(), a.Port, nil
}
