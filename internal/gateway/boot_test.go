package gateway

import (
	"os"
	"strings"
	"testing"

	"sango/internal/iscsi/iscsitest"
	"sango/internal/san"
	"sango/internal/scsi"
)

// A restart of the process is told for volumes in memory only; the others name
// the boot of the machine.
func TestBootIsTold(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	machine, err := san.ParseUUID(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	dir := subdir(t, "d")
	n := start(t, dir)
	mapped(t, n, "a", 1<<20)
	boot := func(n *Node) san.UUID {
		t.Helper()
		c := session(t, n)
		settled(t, c, 0)
		r, err := c.Do(iscsitest.Command{LUN: lunField(0), CDB: [16]byte{0x12, 1, 0xc0, 0, 64, 0}, In: 64})
		if err != nil {
			t.Fatal(err)
		}
		p, err := scsi.ParseSangoPage(r.Data)
		if err != nil {
			t.Fatal(err)
		}
		return p.Boot
	}
	first := boot(n)
	stop(t, n)
	n = node(t, dir)
	if second := boot(n); first != machine || second != machine {
		t.Errorf("told are %v and %v, not %v", first, second, machine)
	}
	other, err := thisBoot()
	if err != nil {
		t.Fatal(err)
	}
	v := &san.Volume{Driver: san.DriverMem}
	if b := n.boots.of(v); b.IsZero() || b == machine || b == other.of(v) {
		t.Errorf("a volume in memory: %v", b)
	}
}
