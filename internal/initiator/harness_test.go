package initiator

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sango/internal/block/blocktest"
	"sango/internal/block/mem"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Names that tests use.
const (
	targetName = "iqn.2026-11.test:disks"
	hostName   = "iqn.2026-11.test:host"
	diskSize   = 64 << 20
)

// directory is a target.Directory of one target.
type directory struct {
	target   *lun.Target
	accounts []san.CHAP
	portals  []target.PortalAddr
}

func (d *directory) Visible(string, netip.Addr) []string              { return []string{targetName} }
func (d *directory) Portals(string) []target.PortalAddr               { return d.portals }
func (d *directory) Discovery(string, netip.Addr) ([]san.CHAP, error) { return d.accounts, nil }
func (d *directory) Login(_ string, _ netip.Addr, name string) (target.Grant, error) {
	if name != targetName {
		return target.Grant{}, target.ErrNotFound
	}
	return target.Grant{Target: d.target, Host: "host", Accounts: d.accounts}, nil
}

// setup is a server on loopback with one target, whose LUN 0 is a volume in
// memory.
type setup struct {
	*target.Server
	t    testing.TB
	dev  *blocktest.Gate
	addr string
}

func start(t testing.TB, change ...func(*target.Config, *directory)) *setup {
	t.Helper()
	v := san.Volume{ID: san.NewUUID(), Name: "test", Driver: "mem", Size: diskSize, BlockSize: 512, PhysicalBlock: 4096, NAA: 0x0123456789abcde}
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
	cfg := target.Config{
		NopTimeout: 30 * time.Second, MaxAge: 30 * time.Second,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &directory{target: tgt, portals: []target.PortalAddr{{Addr: l.Addr().String(), TPG: 1}}}
	for _, f := range change {
		f(&cfg, d)
	}
	srv, err := target.New(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l, 1) }()
	t.Cleanup(func() {
		dev.Release()
		if err := errors.Join(srv.Close(), <-served); err != nil {
			t.Error(err)
		}
		tgt.SetMap(nil)
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return &setup{Server: srv, t: t, dev: dev, addr: l.Addr().String()}
}

// config is a Config for the target of s.
func (s *setup) config() Config {
	return Config{
		Initiator: san.InitiatorPort{Name: hostName, ISID: san.ISID{0x80, 1, 2, 3, 4, 5}}, Target: targetName, Portal: s.addr,
		LoginTimeout: time.Minute, PingInterval: 20 * time.Second, PingTimeout: 20 * time.Second, ManageTimeout: time.Minute,
	}
}

// login logs in; the session ends with the test, and its unit attentions are
// gone.
func (s *setup) login(change ...func(*Config)) *Session {
	s.t.Helper()
	cfg := s.config()
	for _, f := range change {
		f(&cfg)
	}
	x, err := Login(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { x.Abort(ErrClosed) })
	ready(s.t, x)
	return x
}

// ready makes TEST UNIT READY succeed.
func ready(t testing.TB, s *Session) {
	t.Helper()
	for range 8 {
		c := &Command{Attr: scsi.Simple}
		if err := s.Do(longTime(t), c); err != nil {
			t.Fatal(err)
		}
		if c.Status == scsi.Good {
			return
		}
	}
	t.Fatal("the unit does not become ready")
}

func readCDB(lba, blocks int) (c scsi.CDB)  { return rw(0x28, lba, blocks) }
func writeCDB(lba, blocks int) (c scsi.CDB) { return rw(0x2a, lba, blocks) }

func rw(op byte, lba, blocks int) scsi.CDB {
	return scsi.CDB{0: op, 2: byte(lba >> 24), 3: byte(lba >> 16), 4: byte(lba >> 8), 5: byte(lba), 7: byte(blocks >> 8), 8: byte(blocks)}
}

// do runs c, which must be GOOD.
func do(t testing.TB, s *Session, c *Command) {
	t.Helper()
	if err := s.Do(longTime(t), c); err != nil {
		t.Fatal(err)
	}
	if c.Status != scsi.Good || !c.Sent {
		t.Fatalf("%v, sent %v, sense %x", c.Status, c.Sent, c.Sense)
	}
}

func write(t testing.TB, s *Session, lba int, data ...[]byte) {
	t.Helper()
	do(t, s, &Command{CDB: writeCDB(lba, length(data)/512), Attr: scsi.Simple, Out: data})
}

// longTime returns a context that ends long after anything a test waits for.
func longTime(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
