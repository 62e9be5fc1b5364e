package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// guest is a virtual machine with a real Linux kernel, made of Debian packages by guest/build.
type guest struct {
	cache string // where guest/build puts kernel and initramfs
	share string // directory that guest and host both see, by 9p
}

// build makes the guest, or finds that it is there. It takes a minute at first, with about 180 MB from the archive.
func (g guest) build(ctx context.Context, script string, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", script, g.cache)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the guest: %w", err)
	}
	return nil
}

// start boots the guest, which runs share/run and powers itself off.
//
// Software emulation on purpose: it works on machines without KVM, and with KVM inside of a VM QEMU hangs at times.
// One thread for both CPUs, because QEMU 7.2 with a thread each lets the guest panic now and then. Two cards with a user
// network each: behind both the guest finds this machine's loopback, at 10.0.2.2 and 10.0.3.2.
// kernel is more of the kernel's command line, more are further arguments.
func (g guest) start(kernel string, more []string) (*exec.Cmd, error) {
	args := []string{
		"-accel", "tcg,thread=single,tb-size=256", "-cpu", "max", "-smp", "2", "-m", "1536",
		"-nodefaults", "-machine", "pc", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(g.cache, "vmlinuz"), "-initrd", filepath.Join(g.cache, "initramfs"),
		"-append", "console=ttyS0 loglevel=4 panic=-1 tsc=reliable mitigations=off no_timer_check random.trust_cpu=on " + kernel,
		"-chardev", "file,id=console,path=" + filepath.Join(g.share, "console"), "-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", "file,id=out,path=" + filepath.Join(g.share, "output"), "-device", "virtserialport,chardev=out,name=out",
		"-fsdev", "local,id=share,path=" + g.share + ",security_model=none",
		"-device", "virtio-9p-pci,fsdev=share,mount_tag=share",
	}
	for i, net := range []string{"10.0.2.0/24", "10.0.3.0/24"} {
		args = append(args, "-netdev", fmt.Sprintf("user,id=n%d,net=%s", i, net), "-device", fmt.Sprintf("virtio-net-pci,netdev=n%d", i))
	}
	cmd := exec.Command("qemu-system-x86_64", append(args, more...)...)
	log, err := os.Create(filepath.Join(g.share, "qemu"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	return cmd, nil
}
