// Command demo is what `make demo` shows: it starts `sango demo` with a volume, writes to it through iSCSI and reads it
// back through the other portal with a small initiator of its own, and says how to connect. On a terminal it then keeps
// serving until Ctrl-C; elsewhere it ends with success.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/iscsi/iscsitest"
	"sango/internal/san"
	"sango/test/harness"
)

func main() {
	sango := flag.String("sango", "bin/sango", "the sango `program`")
	dir := flag.String("dir", "", "`directory` that keeps the volume; none: a temporary one that goes with the demo")
	harness.Main("demo", func(ctx context.Context) error { return run(ctx, *sango, *dir, os.Stdout) })
}

func run(ctx context.Context, sango, dir string, w io.Writer) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "sango-demo"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	d, err := harness.StartDemo(ctx, harness.DemoOptions{Binary: sango, Dir: dir, Volumes: []string{"disk=1G"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	fmt.Fprintf(w, "Sango serves volume \"disk\" (1 GiB, thin) as LUN 0 of %s\nat the portals %s, from %s\n\n",
		d.Ready.Target, strings.Join(d.Ready.Portals, " and "), dir)
	if err := prove(d, w); err != nil {
		return err
	}
	connect(d, w)
	if !terminal(os.Stdout) {
		fmt.Fprintln(w, "\nNot on a terminal, so this ends here. All is well.")
		return nil
	}
	fmt.Fprintln(w, "\nIt serves until you press Ctrl-C.")
	select {
	case <-ctx.Done():
		return nil
	case <-d.Done():
		return fmt.Errorf("sango demo ended by itself\n%s", d.Output())
	}
}

// prove writes a MiB through one portal, reads it back through the other, and puts back what was there.
func prove(d *harness.Demo, w io.Writer) error {
	const block, size = 512, 1 << 20
	var lun san.LUN
	one, err := session(d, 0)
	if err != nil {
		return err
	}
	defer one.Close()
	other, err := session(d, 1)
	if err != nil {
		return err
	}
	defer other.Close()
	blocks := uint64(d.Ready.LUNs[0].Size / block)
	lba := blocks - size/block // the end of the volume
	before, err := one.Read(lun.Field(), lba, size/block, block)
	if err != nil {
		return err
	}
	data := make([]byte, size)
	rand.Read(data)
	start := time.Now()
	if err := one.WriteBlocks(lun.Field(), lba, data, block); err != nil {
		return err
	}
	got, err := other.Read(lun.Field(), lba, size/block, block)
	if err != nil {
		return err
	}
	took := time.Since(start)
	if !bytes.Equal(got, data) {
		return errors.New("what was read through the second portal is not what was written through the first")
	}
	if err := one.WriteBlocks(lun.Field(), lba, before, block); err != nil {
		return err
	}
	fmt.Fprintf(w, "Proof: an initiator logged in at both portals, wrote 1 MiB through the first and read the same\nback through the second, in %.1f ms.\n\n",
		float64(took.Microseconds())/1000)
	return errors.Join(one.Logout(), other.Logout())
}

func session(d *harness.Demo, portal int) (*iscsitest.Conn, error) {
	c, err := iscsitest.Dial(d.Ready.Portals[portal])
	if err != nil {
		return nil, err
	}
	err = c.Login(iscsitest.Login{Initiator: "iqn.2026-11.io.sango:make-demo", Target: d.Ready.Target, ISID: san.ISID{0x80, 0, 0, 0, 0, byte(portal)}})
	if err == nil {
		_, err = c.Ready(san.LUN(0).Field())
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// connect says how clients get at it.
func connect(d *harness.Demo, w io.Writer) {
	p := d.Ready.Portals[0]
	fmt.Fprintf(w, `Connect from this machine, in another terminal:

  Linux    iscsiadm -m discovery -t sendtargets -p %[1]s
           iscsiadm -m node -T %[2]s -p %[1]s --login
           lsblk -S
  QEMU     qemu-img info %[3]s
           qemu-system-x86_64 ... -drive file=%[3]s,format=raw,if=virtio
  manage   export SANGO_DIR=%[4]s
           bin/sango volume list
           bin/sango volume snapshot disk before-lunch
`, p, d.Ready.Target, d.URL(0, 0), d.Dir())
}

// terminal reports whether a person reads f. (/dev/null is a character device too.)
func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
