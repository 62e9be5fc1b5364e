package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sango/test/harness"
)

// The volume with the guest's root filesystem, beside what a demo serves by itself.
const (
	rootVolume = "root"
	rootLUN    = 5
)

// bootable is a volume with a root filesystem, and what serves it to QEMU.
type bootable struct {
	*portals
	share  string
	attach *attached // nil: QEMU is the initiator
}

// startBootable serves a volume with a root filesystem.
func startBootable(ctx context.Context, o options, share string) (_ *bootable, err error) {
	if err := harness.Need("mkfs.ext4", "debugfs", "e2fsck"); err != nil {
		return nil, err
	}
	p, err := startPortals(ctx, o.sango)
	if err != nil {
		return nil, err
	}
	b := &bootable{portals: p, share: share}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	image := filepath.Join(p.dir, "image")
	if err := rootImage(ctx, filepath.Join(o.cache, "initramfs"), p.dir, image); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"volume", "import", rootVolume, image},
		{"target", "map", p.demo.Ready.Target, rootVolume, "--lun", strconv.Itoa(rootLUN)},
	} {
		if _, err := p.cli(ctx, args...); err != nil {
			return nil, err
		}
	}
	return b, os.Remove(image)
}

// rootImage makes an ext4 filesystem with the guest's files.
func rootImage(ctx context.Context, initramfs, dir, image string) error {
	root := filepath.Join(dir, "files")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	f, err := os.Open(initramfs)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, "cpio", "--quiet", "-idm", "--no-absolute-filenames")
	cmd.Dir, cmd.Stdin = root, f
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("unpack the guest's files: %w\n%s", err, out)
	}
	if _, err := harness.Run(ctx, time.Minute, "mkfs.ext4", "-q", "-F", "-d", root, image, "512M"); err != nil {
		return err
	}
	return os.RemoveAll(root)
}

// outside boots the guest from the volume, which node (a -blockdev without its node's name) leads to.
func (b *bootable) outside(node string) *outside {
	return &outside{
		kernel: "root=/dev/vda",
		qemu: []string{
			"-blockdev", node + ",node-name=disk,discard=unmap",
			"-device", "virtio-blk-pci,drive=disk",
		},
		do: b.do, check: b.check, close: b.close,
	}
}

// prepareBootSocket gives QEMU the NBD socket of an attachment over both portals.
func prepareBootSocket(ctx context.Context, o options, share string) (*outside, error) {
	b, err := startBootable(ctx, o, share)
	if err != nil {
		return nil, err
	}
	url := func(i int) string {
		return "iscsi://" + b.addr(i, "127.0.0.1") + "/" + b.demo.Ready.Target + "/" + strconv.Itoa(rootLUN)
	}
	b.attach = &attached{
		sango: o.sango, source: url(0) + "," + url(1), dir: filepath.Join(b.dir, "host"),
		socket: filepath.Join(b.dir, "nbd.sock"), log: filepath.Join(share, "attach"),
	}
	if err := b.attach.start(ctx); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b.outside("driver=nbd,server.type=unix,server.path=" + b.attach.socket + ",reconnect-delay=60"), nil
}

// prepareBootISCSI lets QEMU log in by itself.
func prepareBootISCSI(ctx context.Context, o options, share string) (*outside, error) {
	b, err := startBootable(ctx, o, share)
	if err != nil {
		return nil, err
	}
	return b.outside("driver=iscsi,transport=tcp,lun=" + strconv.Itoa(rootLUN) + ",initiator-name=" + initiator +
		",portal=" + b.demo.Ready.Portals[0] + ",target=" + b.demo.Ready.Target), nil
}

// do is portals.do, and the death of the attachment.
func (b *bootable) do(ctx context.Context, verb string, args []string) (string, error) {
	if verb != "restart" || b.attach == nil {
		return b.portals.do(ctx, verb, args)
	}
	b.attach.kill()
	return "", b.attach.start(ctx)
}

// check looks at the volume from this side: the filesystem is whole, and the file whose checksum the guest noted is there.
func (b *bootable) check(ctx context.Context, rep *harness.Report) {
	image := filepath.Join(b.dir, "exported")
	if b.attach != nil {
		rep.Step("detach_socket", func() error { return b.attach.detach(ctx) })
	}
	if !rep.Step("export_volume", func() error {
		_, err := b.cli(ctx, "volume", "export", rootVolume, image)
		return err
	}) {
		return
	}
	rep.Step("check_exported_filesystem", func() error {
		_, err := harness.Run(ctx, time.Minute, "e2fsck", "-fn", image)
		return err
	})
	rep.Step("compare_exported_file", func() error {
		noted, err := os.ReadFile(filepath.Join(b.share, "kept"))
		if err != nil {
			return err
		}
		file := filepath.Join(b.dir, "kept")
		if _, err := harness.Run(ctx, time.Minute, "debugfs", "-R", "dump /kept "+file, image); err != nil {
			return err
		}
		sum, err := harness.Run(ctx, time.Minute, "sha256sum", file)
		if err != nil {
			return err
		}
		got, _, _ := strings.Cut(sum, " ")
		want, _, _ := strings.Cut(string(noted), " ")
		if got != want || len(want) != 64 {
			return fmt.Errorf("/kept has the checksum %s, the guest noted %s", got, want)
		}
		return nil
	})
}

func (b *bootable) close() error {
	if b.attach != nil {
		b.attach.kill()
	}
	return b.portals.close()
}

// attached is a `sango attach --as socket` on this machine.
type attached struct {
	sango, source, dir, socket, log string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; read after done
}

// start starts it, or starts it again, and returns when it serves.
func (a *attached) start(ctx context.Context) error {
	log, err := os.OpenFile(a.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	ready := a.socket + ".ready"
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	a.cmd = exec.Command(a.sango, "attach", a.source, "--name", "disk", "--as", "socket", "--socket", a.socket, "--host-dir", a.dir, "--ready-file", ready)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt on the terminal is for this program
	if err := a.cmd.Start(); err != nil {
		return fmt.Errorf("start sango attach: %w", err)
	}
	a.done = make(chan struct{})
	go func() {
		a.err = a.cmd.Wait()
		close(a.done)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(ready); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-a.done:
			return fmt.Errorf("sango attach ended before it served: %w\n%s", a.err, end(a.log, 10))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// kill ends the process and waits until it is gone.
func (a *attached) kill() {
	if a.done != nil {
		_ = a.cmd.Process.Kill() // it may have ended by itself
		<-a.done
	}
}

// detach ends the attachment; nothing of it may be left.
func (a *attached) detach(ctx context.Context) error {
	if _, err := harness.Run(ctx, time.Minute, a.sango, "detach", "disk", "--host-dir", a.dir); err != nil {
		return err
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if a.err != nil {
		return fmt.Errorf("sango attach: %w\n%s", a.err, end(a.log, 10))
	}
	left, err := filepath.Glob(filepath.Join(a.dir, "disk*"))
	if err != nil {
		return err
	}
	if _, err := os.Lstat(a.socket); err == nil {
		left = append(left, a.socket)
	}
	if len(left) > 0 {
		return fmt.Errorf("sango detach left %s", strings.Join(left, ", "))
	}
	return nil
}
