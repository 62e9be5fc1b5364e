// Command clients lets independent clients use sango demo: qemu-img and qemu-io through iscsi://, and the programs of
// libiscsi.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sango/test/harness"
)

func main() {
	sango := flag.String("sango", "bin/sango", "the sango `program`")
	harness.Main("clients", func(ctx context.Context) error { return run(ctx, *sango) })
}

const (
	user   = "client"
	secret = "client-secret-16"
)

// The LUNs of the demo.
const (
	lun512 = iota
	lun4096
)

func run(ctx context.Context, sango string) (err error) {
	if err := harness.Need("qemu-img", "qemu-io", "iscsi-ls", "iscsi-inq", "iscsi-perf"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "clients")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := harness.StartDemo(ctx, harness.DemoOptions{
		Binary: sango, Dir: dir, CHAPUser: user, CHAPSecret: secret,
		Volumes: []string{"a=256M", "b=256M,block=4096"},
	})
	if err != nil {
		return err
	}
	c := &clients{ctx: ctx, dir: dir, d: d}
	rep := &harness.Report{W: os.Stdout}
	rep.Step("iscsi-ls finds the target at both portals, with its LUNs", c.list)
	rep.Step("iscsi-inq reads INQUIRY data and VPD pages", c.inquire)
	rep.Step("iscsi-perf reads", c.perf)
	rep.Step("a wrong secret is refused", c.wrongSecret)
	for _, lun := range []int{lun512, lun4096} {
		on := fmt.Sprintf(" (LUN %d)", lun)
		rep.Step("qemu-img convert in and out gives the same bytes"+on, func() error { return c.convert(lun) })
		rep.Step("qemu-io writes, discards and reads patterns"+on, func() error { return c.patterns(lun) })
		rep.Step("qemu-img bench reads and writes"+on, func() error { return c.bench(lun) })
	}
	rep.Step("qemu-img compare through both portals", c.compare)
	rep.Step("the demo ends by SIGTERM", d.Stop)
	return rep.Err()
}

// commandTime is how long a client may take.
const commandTime = 5 * time.Minute

type clients struct {
	ctx context.Context
	dir string
	d   *harness.Demo
}

func (c *clients) run(program string, args ...string) (string, error) {
	return harness.Run(c.ctx, commandTime, program, args...)
}

// url of a LUN through a portal, with the account in it.
func (c *clients) url(portal, lun int) string { return c.d.URL(portal, lun) }

func (c *clients) list() error {
	account := "iscsi://" + user + "%" + secret + "@"
	for _, p := range c.d.Ready.Portals {
		out, err := c.run("iscsi-ls", "-s", account+p)
		if err != nil {
			return err
		}
		for _, want := range []string{c.d.Ready.Target, c.d.Ready.Portals[0], c.d.Ready.Portals[1], "Lun:0", "Lun:1"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("iscsi-ls at %s does not show %s:\n%s", p, want, out)
			}
		}
	}
	return nil
}

func (c *clients) inquire() error {
	out, err := c.run("iscsi-inq", c.url(0, lun512))
	if err != nil {
		return err
	}
	if !strings.Contains(out, "SANGO") {
		return fmt.Errorf("no vendor SANGO in:\n%s", out)
	}
	for _, page := range []string{"0x00", "0x80", "0x83", "0xb0", "0xb1", "0xb2"} {
		if _, err := c.run("iscsi-inq", "-e", "1", "-c", page, c.url(0, lun512)); err != nil {
			return err
		}
	}
	return nil
}

func (c *clients) perf() error {
	out, err := c.run("iscsi-perf", "-m", "32", "-b", "8", "-t", "3", c.url(0, lun512))
	if err != nil {
		return err
	}
	if strings.Contains(out, "failed") {
		return errors.New(out)
	}
	return nil
}

func (c *clients) wrongSecret() error {
	out, err := c.run("iscsi-inq", strings.Replace(c.url(0, lun512), secret, "another-secret16", 1))
	if err == nil {
		return fmt.Errorf("a wrong secret was let in:\n%s", out)
	}
	return nil
}

// convert writes an image of random data, holes and repetitions to the volume and reads it back.
func (c *clients) convert(lun int) error {
	image := filepath.Join(c.dir, "image.raw")
	if err := harness.MakeImage(image, c.d.Ready.LUNs[lun].Size); err != nil {
		return err
	}
	back := filepath.Join(c.dir, "back.qcow2")
	for _, args := range [][]string{
		{"convert", "-n", "-W", "-m", "16", "-f", "raw", "-O", "raw", image, c.url(0, lun)},
		{"compare", "-f", "raw", "-F", "raw", image, c.url(1, lun)},
		{"convert", "-W", "-m", "16", "-f", "raw", "-O", "qcow2", c.url(1, lun), back},
		{"compare", "-f", "raw", "-F", "qcow2", image, back},
	} {
		if _, err := c.run("qemu-img", args...); err != nil {
			return err
		}
	}
	return os.Remove(back)
}

func (c *clients) patterns(lun int) error {
	for _, commands := range [][]string{
		{"write -P 0x5a 0 4M", "aio_write -P 0xa5 4M 4M", "aio_flush", "flush"},
		{"read -P 0x5a 0M 4M", "read -P 0xa5 4M 4M"},
		{"discard 1M 1M", "read -P 0 1M 1M", "read -P 0x5a 0M 1M", "read -P 0x5a 2M 2M"},
		{"write -z 4M 1M", "read -P 0 4M 1M", "write -f -P 0x11 5M 16k", "read -P 0x11 5M 16k", "read -P 0xa5 6M 2M"},
		{"writev -P 0x33 8M 4k 8k 16k", "readv -P 0x33 8M 16k 8k 4k"},
	} {
		if lun == lun4096 {
			var small []string
			for _, s := range commands {
				small = append(small, smallReads(s)...)
			}
			commands = small
		}
		if err := harness.QemuIO(c.ctx, commandTime, c.url(0, lun), commands...); err != nil {
			return err
		}
	}
	return nil
}

// smallReads makes a read into reads of 16 KiB. QEMU 7.2 aborts on larger ones of a thin LUN with 4096-byte blocks: it
// asks itself for the allocation of INT_MAX bytes, rounded to 512, and asserts that this is aligned to 4096.
func smallReads(command string) []string {
	var pattern, offset, length int64
	if _, err := fmt.Sscanf(command, "read -P %v %dM %dM", &pattern, &offset, &length); err != nil {
		return []string{command}
	}
	const piece = 16 << 10
	var reads []string
	for at := offset << 20; at < (offset+length)<<20; at += piece {
		reads = append(reads, fmt.Sprintf("read -P %d %d %d", pattern, at, piece))
	}
	return reads
}

func (c *clients) bench(lun int) error {
	for _, args := range [][]string{
		{"-c", "4000", "-d", "32", "-s", "4096"},
		{"-c", "4000", "-d", "32", "-s", "4096", "-w"},
		{"-c", "200", "-d", "8", "-s", "1048576", "-w", "--flush-interval=50"},
	} {
		args = append([]string{"bench", "-f", "raw", "-n", "-t", "none"}, args...)
		if _, err := c.run("qemu-img", append(args, c.url(0, lun))...); err != nil {
			return err
		}
	}
	return nil
}

func (c *clients) compare() error {
	_, err := c.run("qemu-img", "compare", "-f", "raw", "-F", "raw", c.url(0, lun4096), c.url(1, lun4096))
	return err
}
