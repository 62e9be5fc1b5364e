package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"sango/test/harness"
)

// refused runs a program that has to fail and to say why.
func (c *clients) refused(want string, program string, args ...string) error {
	out, err := c.run(program, args...)
	if err == nil {
		return fmt.Errorf("%s was let in:\n%s", program, out)
	}
	if !strings.Contains(out, want) {
		return fmt.Errorf("%q is not said by %w", want, err)
	}
	return nil
}

func (c *clients) odd() error {
	return c.refused("Invalid argument", "fio", "--name=odd", "--ioengine=nbd", "--uri="+c.srv.uri(unix, disk4096), "--rw=write", "--bs=512", "--size=1M")
}

func (c *clients) part() error {
	return c.io(unix, disk4096, "write -P 7 0 8k", "write -P 1 512 512", "read -P 7 0 512", "read -P 1 512 512", "read -P 7 1k 7k")
}

func (c *clients) readOnly() error {
	out, err := c.run("nbdinfo", "--is", "read-only", c.srv.uri(unix, frozen))
	if err != nil {
		return fmt.Errorf("%w %s", err, out)
	}
	if err := c.io(unix, frozen, "read -P 0 0 1M"); err == nil {
		return errors.New("qemu-io opened a read-only export for writing")
	}
	if err := c.runs([]string{"qemu-io", "-r", "-f", "raw", "-c", "read -P 0 0 1M", c.srv.uri(unix, frozen)}); err != nil {
		return err
	}
	return c.refused("", "nbdcopy", filepath.Join(c.dir, "image.raw"), c.srv.uri(unix, frozen))
}

func (c *clients) unknown() error {
	if err := c.refused("nope", "nbdinfo", c.srv.uri(unix, "nope")); err != nil {
		return err
	}
	return c.refused("nope", "qemu-img", "info", c.srv.uri(tcp, "nope"))
}

func (c *clients) tlsCopies() error {
	image, back, uri := filepath.Join(c.dir, "image.raw"), filepath.Join(c.dir, "back.raw"), c.srv.uri(secure, disk512)
	out, err := c.run("nbdinfo", uri)
	if err != nil {
		return err
	}
	if err := contains(out, "with TLS", "export-size: 268435456"); err != nil {
		return err
	}
	if err := harness.MakeImage(image, diskSize); err != nil {
		return err
	}
	return c.runs(
		[]string{"nbdcopy", "-C", "4", image, uri},
		[]string{"nbdcopy", "-C", "2", uri, back},
		[]string{"cmp", image, back},
		[]string{"rm", back},
	)
}

func (c *clients) tlsQemu() error {
	host, port := c.srv.tls()
	image := filepath.Join(c.dir, "image.raw")
	creds := "tls-creds-x509,id=t,endpoint=client,dir=" + c.srv.certificates
	disk := fmt.Sprintf("driver=raw,file.driver=nbd,file.server.type=inet,file.server.host=%s,file.server.port=%s,file.export=%s,file.tls-creds=t", host, port, disk512)
	return c.runs(
		[]string{"qemu-img", "compare", "--object", creds, "--image-opts", disk, "driver=raw,file.driver=file,file.filename=" + image},
		[]string{"qemu-io", "--object", creds, "--image-opts", disk, "-c", "write -P 9 0 1M", "-c", "read -P 9 0 1M", "-c", "flush"},
	)
}

func (c *clients) tlsRequired() error {
	host, port := c.srv.tls()
	plain := fmt.Sprintf("nbd://%s:%s/%s", host, port, disk512)
	if err := c.refused("TLS", "nbdinfo", plain); err != nil {
		return err
	}
	return c.refused("TLS", "qemu-img", "info", plain)
}

func (c *clients) resized() error {
	if err := c.srv.grow(); err != nil {
		return err
	}
	out, err := c.run("nbdinfo", "--size", c.srv.uri(unix, disk512))
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(out); got != fmt.Sprint(2*int64(diskSize)) {
		return fmt.Errorf("the size is %s", got)
	}
	return c.io(unix, disk512, "write -P 3 256M 1M", "read -P 3 256M 1M")
}
