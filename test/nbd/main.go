// Command nbd lets independent clients use the NBD server: nbdinfo and nbdcopy of libnbd, qemu-img and qemu-io, fio,
// and nbd-client, over a unix socket, TCP and TLS.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sango/test/harness"
)

func main() { harness.Main("nbd", run) }

func run(ctx context.Context) error {
	if err := harness.Need("nbdinfo", "nbdcopy", "nbd-client", "qemu-img", "qemu-io", "fio"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "nbd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	srv, err := startServer(dir)
	if err != nil {
		return err
	}
	c := &clients{ctx: ctx, dir: dir, srv: srv}
	rep := &harness.Report{W: os.Stdout}
	rep.Step("nbdinfo shows size, flags, block sizes and description", c.info)
	rep.Step("nbdinfo --list finds all exports", c.list)
	rep.Step("nbd-client -l finds all exports", c.nbdClientList)
	rep.Step("nbdinfo --map shows data and holes", c.mapping)
	for _, where := range []place{unix, tcp} {
		for _, export := range []string{disk512, disk4096} {
			on := fmt.Sprintf(" (%s, %s)", export, where)
			rep.Step("nbdcopy in and out over four connections gives the same bytes"+on, func() error { return c.copies(where, export) })
			rep.Step("qemu-img convert in and out, compare and map"+on, func() error { return c.convert(where, export) })
			rep.Step("qemu-io writes, discards, zeroes and reads patterns"+on, func() error { return c.patterns(where, export) })
			rep.Step("qemu-img bench reads and writes"+on, func() error { return c.bench(where, export) })
			rep.Step("fio verifies what it wrote"+on, func() error { return c.fio(where, export) })
		}
	}
	rep.Step("a request that is no multiple of the block size is refused", c.odd)
	rep.Step("qemu-io writes a part of a 4096-byte block by itself", c.part)
	rep.Step("a read-only export refuses writes", c.readOnly)
	rep.Step("an export that does not exist is refused", c.unknown)
	rep.Step("TLS: nbdinfo and nbdcopy", c.tlsCopies)
	rep.Step("TLS: qemu-img", c.tlsQemu)
	rep.Step("TLS: a client without it is refused", c.tlsRequired)
	rep.Step("a larger size is seen after connecting again", c.resized)
	rep.Step("the server ends, and the block contract was kept", srv.stop)
	return rep.Err()
}

// commandTime is how long a client may take.
const commandTime = 5 * time.Minute

type clients struct {
	ctx context.Context
	dir string
	srv *server
}

func (c *clients) run(program string, args ...string) (string, error) {
	return harness.Run(c.ctx, commandTime, program, args...)
}

// runs runs commands one after the other.
func (c *clients) runs(commands ...[]string) error {
	for _, args := range commands {
		if _, err := c.run(args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// contains returns an error when a want is not in out.
func contains(out string, wants ...string) error {
	for _, want := range wants {
		if !strings.Contains(out, want) {
			return fmt.Errorf("%q is not in:\n%s", want, out)
		}
	}
	return nil
}

func (c *clients) info() error {
	out, err := c.run("nbdinfo", c.srv.uri(unix, disk512))
	if err != nil {
		return err
	}
	if err := contains(out, "export-size: 268435456", "description: a disk", "can_multi_conn: true", "can_fua: true", "can_df: true",
		"can_trim: true", "can_zero: true", "can_fast_zero: true", "can_cache: true", "can_flush: true", "is_read_only: false",
		"is_rotational: false", "block_size_minimum: 512", "block_size_preferred: 4096", "block_size_maximum: 33554432",
		"base:allocation"); err != nil {
		return err
	}
	out, err = c.run("nbdinfo", "--json", c.srv.uri(tcp, disk4096))
	if err != nil {
		return err
	}
	return contains(out, `"block_size_minimum": 4096`, `"export-size": 268435456`)
}

func (c *clients) list() error {
	for _, json := range []string{"--no-content", "--json"} {
		out, err := c.run("nbdinfo", "--list", json, c.srv.uri(unix, ""))
		if err != nil {
			return err
		}
		if err := contains(out, disk512, disk4096, frozen); err != nil {
			return err
		}
	}
	return nil
}

func (c *clients) nbdClientList() error {
	host, port := c.srv.tcp()
	out, err := c.run("nbd-client", "-l", host, port)
	if err != nil {
		return err
	}
	return contains(out, disk512, disk4096, frozen)
}

func (c *clients) mapping() error {
	if err := c.io(unix, disk512, "write -P 1 64k 64k", "write -z 256k 64k"); err != nil {
		return err
	}
	out, err := c.run("nbdinfo", "--map", c.srv.uri(unix, disk512))
	if err != nil {
		return err
	}
	fields := strings.Join(strings.Fields(out), " ")
	if err := contains(fields, "0 65536 3 hole,zero 65536 65536 0 data 131072 131072 3 hole,zero"); err != nil {
		return err
	}
	if _, err := c.run("nbdinfo", "--map", "--totals", c.srv.uri(unix, disk512)); err != nil {
		return err
	}
	return c.io(unix, disk512, "discard 0 256M", "read -P 0 0 1M")
}

// io runs commands of qemu-io.
func (c *clients) io(where place, export string, commands ...string) error {
	return harness.QemuIO(c.ctx, commandTime, c.srv.uri(where, export), commands...)
}

func (c *clients) copies(where place, export string) error {
	image, back, uri := filepath.Join(c.dir, "image.raw"), filepath.Join(c.dir, "back.raw"), c.srv.uri(where, export)
	if err := harness.MakeImage(image, diskSize); err != nil {
		return err
	}
	return c.runs(
		[]string{"nbdcopy", "-C", "4", image, uri},
		[]string{"nbdcopy", "-C", "4", "--flush", uri, back},
		[]string{"cmp", image, back},
		[]string{"nbdcopy", "--synchronous", "--no-extents", uri, back},
		[]string{"cmp", image, back},
		[]string{"rm", back},
	)
}

func (c *clients) convert(where place, export string) error {
	image, back, uri := filepath.Join(c.dir, "image.raw"), filepath.Join(c.dir, "back.qcow2"), c.srv.uri(where, export)
	if err := harness.MakeImage(image, diskSize); err != nil {
		return err
	}
	if err := c.runs(
		[]string{"qemu-img", "convert", "-n", "-W", "-m", "16", "-f", "raw", "-O", "raw", image, uri},
		[]string{"qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri},
		[]string{"qemu-img", "convert", "-W", "-m", "16", "-f", "raw", "-O", "qcow2", uri, back},
		[]string{"qemu-img", "compare", "-f", "raw", "-F", "qcow2", image, back},
		[]string{"rm", back},
	); err != nil {
		return err
	}
	out, err := c.run("qemu-img", "map", "-f", "raw", "--output=json", uri)
	if err != nil {
		return err
	}
	return contains(out, `"zero": true, "data": false`, `"zero": false, "data": true`)
}

func (c *clients) patterns(where place, export string) error {
	for _, commands := range [][]string{
		{"write -P 0x5a 0 4M", "aio_write -P 0xa5 4M 4M", "aio_flush", "flush"},
		{"read -P 0x5a 0M 4M", "read -P 0xa5 4M 4M"},
		{"discard 1M 1M", "read -P 0 1M 1M", "read -P 0x5a 0M 1M", "read -P 0x5a 2M 2M"},
		{"write -z 4M 1M", "write -z -u 5M 1M", "read -P 0 4M 2M", "read -P 0xa5 6M 2M"},
		{"write -f -P 0x11 5M 16k", "read -P 0x11 5M 16k", "write -z -f 5M 4k", "read -P 0 5M 4k"},
		{"writev -P 0x33 8M 4k 8k 16k", "readv -P 0x33 8M 16k 8k 4k"},
		{"write -P 0x44 32M 40M", "read -P 0x44 32M 40M"},
	} {
		if err := c.io(where, export, commands...); err != nil {
			return err
		}
	}
	return nil
}

func (c *clients) bench(where place, export string) error {
	for _, args := range [][]string{
		{"-c", "20000", "-d", "32", "-s", "4096"},
		{"-c", "20000", "-d", "32", "-s", "4096", "-w"},
		{"-c", "500", "-d", "8", "-s", "1048576", "-w", "--flush-interval=50"},
	} {
		args = append([]string{"bench", "-f", "raw", "-n", "-t", "none"}, args...)
		if _, err := c.run("qemu-img", append(args, c.srv.uri(where, export))...); err != nil {
			return err
		}
	}
	return nil
}

func (c *clients) fio(where place, export string) error {
	out, err := c.run("fio", "--name=verify", "--ioengine=nbd", "--uri="+c.srv.uri(where, export), "--rw=randwrite", "--bs=4k", "--size=32M",
		"--iodepth=32", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--fsync=500")
	if err != nil {
		return err
	}
	return contains(out, "read:", "err= 0") // it did read back
}
