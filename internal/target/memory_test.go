package target

import (
	"testing"

	"sango/internal/iscsi"
	"sango/internal/scsi"
)

// A command that alone needs more than its connection may hold is served, also
// when it brought immediate data, which was charged before.
func TestOneCommandMayExceedItsConnection(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.ConnectionMemory = 64 << 10 })
	i := connect(t, s)
	i.ready()
	want := pattern(256 << 10)
	i.write(0, want, true, true, 65536, 65536)
	i.check(0, want)
}

// All sessions of one initiator name share one bound; another initiator has
// its own.
func TestMemoryOfAHost(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.HostMemory = 32 << 20 })
	login := func(id byte, name string) *initiator {
		i := dial(t, s)
		if st := i.login(isid(id), names(name, targetName)...); st != iscsi.LoginSuccess {
			t.Fatal(st)
		}
		i.ready()
		return i
	}
	a, b, other := login(1, hostName), login(2, hostName), login(3, hostName+"2")
	// A write that never gets its data holds what it is expected to need.
	a.command(command{cdb: write10(0, 32768), write: true, expected: 16 << 20})
	a.r2t()
	b.command(command{cdb: write10(32768, 32768), write: true, expected: 16 << 20})
	b.r2t()
	b.command(command{cdb: read10(0, 8), read: true, expected: 4096})
	if o := b.outcome(); o.status != uint8(scsi.Busy) {
		t.Errorf("status %#x, want BUSY", o.status)
	}
	other.check(0, make([]byte, 4096))
	a.nc.Close()
	if err := s.Drop(longTime(t), func(i SessionInfo) bool { return i.ISID == "800000000001" }, "test"); err != nil {
		t.Fatal(err)
	}
	b.check(0, make([]byte, 4096))
}
