package target

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sango/internal/block/blocktest"
	"sango/internal/block/mem"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/san"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Names that tests use.
const (
	targetName = "iqn.2026-11.test:disks"
	hostName   = "iqn.2026-11.test:host"
)

// directory is a Directory of one target, and of others in name only.
type directory struct {
	target   *lun.Target
	others   []string
	accounts []san.CHAP
	portals  []PortalAddr
	// elsewhere is what Elsewhere answers.
	elsewhere []netip.AddrPort
}

func (d *directory) Elsewhere(target string) []netip.AddrPort {
	if target != targetName {
		return nil
	}
	return d.elsewhere
}

func (d *directory) Visible(initiator string, _ netip.Addr) []string {
	if initiator != hostName {
		return nil
	}
	return append([]string{targetName}, d.others...)
}

func (d *directory) Portals(string) []PortalAddr { return d.portals }

func (d *directory) Discovery(string, netip.Addr) ([]san.CHAP, error) { return d.accounts, nil }

func (d *directory) Login(initiator string, _ netip.Addr, target string) (Grant, error) {
	switch {
	case target != targetName:
		return Grant{}, ErrNotFound
	case initiator != hostName && initiator != hostName+"2":
		return Grant{}, ErrForbidden
	}
	return Grant{Target: d.target, Host: "host", Accounts: d.accounts}, nil
}

// setup is a server on loopback with one target, whose LUN 0 is a volume in
// memory of 64 MiB.
type setup struct {
	*Server
	t    testing.TB
	dir  *directory
	unit *lun.Unit
	dev  *blocktest.Gate
	addr string
}

// start makes a setup; each of change alters what it is made from.
func start(t testing.TB, change ...func(*Config, *directory)) *setup {
	t.Helper()
	v := san.Volume{ID: san.NewUUID(), Name: "test", Driver: "mem", Size: 64 << 20, BlockSize: 512, PhysicalBlock: 4096, NAA: 0x0123456789abcde}
	inner, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock})
	if err != nil {
		t.Fatal(err)
	}
	dev := blocktest.NewGate(inner)
	u, err := lun.NewUnit(v, dev, &luntest.Store{}, lun.UnitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tgt := lun.NewTarget(targetName, lun.TargetOptions{})
	tgt.SetMap(map[san.LUN]lun.MapEntry{0: {Unit: u}})
	level := slog.LevelError
	if os.Getenv("SANGO_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	// A machine that is busy with other things must not look like a lost peer.
	cfg := Config{NopTimeout: 30 * time.Second, MaxAge: 30 * time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))}
	d := &directory{target: tgt}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.portals = []PortalAddr{{Addr: l.Addr().String(), TPG: 1}}
	for _, f := range change {
		f(&cfg, d)
	}
	srv, err := New(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l, 1) }()
	t.Cleanup(func() {
		dev.Release()
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		tgt.SetMap(nil)
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return &setup{Server: srv, t: t, dir: d, unit: u, dev: dev, addr: l.Addr().String()}
}

// within returns a context that ends long after anything a test waits for.
func longTime(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
