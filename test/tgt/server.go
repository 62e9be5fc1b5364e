package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sango/test/harness"
)

// The targets of tgtd. Each has a disk at LUN 1; LUN 0 is tgtd's controller.
const (
	openTarget   = "iqn.2026-11.test.tgt:open"
	chapTarget   = "iqn.2026-11.test.tgt:chap"
	mutualTarget = "iqn.2026-11.test.tgt:mutual"
	diskSize     = 64 << 20
)

// The accounts that the last two ask for. tgtd takes secrets of up to 31 bytes.
const (
	user         = "client"
	secret       = "client-secret-16"
	mutualUser   = "server"
	mutualSecret = "server-secret-16"
)

// tgtd is a running tgtd with its own control port, on loopback. It keeps its ports and disks across kill and start.
type tgtd struct {
	dir     string
	control string
	portals []string
	log     *os.File
	cmd     *exec.Cmd
	exited  chan struct{}
}

// newTgtd chooses free ports and makes the disks.
func newTgtd(dir string, portals int) (*tgtd, error) {
	d := &tgtd{dir: dir}
	var taken []net.Listener
	defer func() {
		for _, l := range taken {
			l.Close()
		}
	}()
	for i := range portals + 1 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		taken = append(taken, l)
		if i == 0 { // a number below 32768 that no other tgtd has: its socket is named after it
			d.control = strconv.Itoa(l.Addr().(*net.TCPAddr).Port & 0x7fff)
			continue
		}
		d.portals = append(d.portals, l.Addr().String())
	}
	for i := range 3 {
		if err := makeFile(d.disk(i), diskSize); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(dir, "tgtd.log"))
	d.log = log
	return d, err
}

func (d *tgtd) disk(i int) string { return filepath.Join(d.dir, fmt.Sprintf("disk%d", i)) }

func makeFile(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// start runs tgtd and sets its targets up.
func (d *tgtd) start(ctx context.Context) error {
	d.cmd = exec.Command("tgtd", "-f", "-C", d.control, "--iscsi", "portal="+strings.Join(d.portals, ",portal="))
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return fmt.Errorf("tgtd: %w; it needs root and Debian's package tgt", err)
	}
	d.exited = make(chan struct{})
	go func() {
		_ = d.cmd.Wait()
		close(d.exited)
	}()
	if err := d.answers(ctx); err != nil {
		return err
	}
	iqns := []string{openTarget, chapTarget, mutualTarget}
	for i, iqn := range iqns {
		tid := strconv.Itoa(i + 1)
		for _, args := range [][]string{
			{"target", "new", "--tid", tid, "-T", iqn},
			{"logicalunit", "new", "--tid", tid, "--lun", "1", "-b", d.disk(i)},
			{"logicalunit", "update", "--tid", tid, "--lun", "1", "--params", "thin_provisioning=1"},
			{"target", "update", "--tid", tid, "--name", "HeaderDigest", "--value", "CRC32C,None"},
			{"target", "update", "--tid", tid, "--name", "DataDigest", "--value", "CRC32C,None"},
			{"target", "bind", "--tid", tid, "-I", "ALL"},
		} {
			if err := d.admin(ctx, args...); err != nil {
				return err
			}
		}
	}
	for _, args := range [][]string{
		{"account", "new", "--user", user, "--password", secret},
		{"account", "new", "--user", mutualUser, "--password", mutualSecret},
		{"account", "bind", "--tid", "2", "--user", user},
		{"account", "bind", "--tid", "3", "--user", user},
		{"account", "bind", "--tid", "3", "--user", mutualUser, "--outgoing"},
	} {
		if err := d.admin(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// answers waits until tgtd takes commands: each attempt waits for the next on a ticker.
func (d *tgtd) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := d.admin(ctx, "target", "show")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-d.exited:
			return fmt.Errorf("tgtd ended: %w", d.tail())
		case <-ctx.Done():
			return err
		}
	}
}

// tail returns what tgtd said as an error.
func (d *tgtd) tail() error {
	b, err := os.ReadFile(d.log.Name())
	if err != nil {
		return err
	}
	return errors.New(strings.TrimSpace(string(b[max(0, len(b)-2000):])))
}

func (d *tgtd) admin(ctx context.Context, args ...string) error {
	all := append([]string{"-C", d.control, "--lld", "iscsi", "--mode", args[0], "--op", args[1]}, args[2:]...)
	_, err := harness.Run(ctx, 10*time.Second, "tgtadm", all...)
	return err
}

// kill ends tgtd at once: it takes no notice of SIGTERM.
func (d *tgtd) kill() {
	if d.cmd == nil || d.cmd.Process == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	<-d.exited
	_ = os.Remove("/var/run/tgtd/socket." + d.control)
	_ = os.Remove("/var/run/tgtd/socket." + d.control + ".lock")
}
