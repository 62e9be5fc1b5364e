package target

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/lun"
	"sango/internal/san"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Names that tests use.
const (
	targetName = "iqn.2026-11.test:disks"
	hostName   = "iqn.2026-11.test:host"
)

// memStore is a lun.UnitStore in memory.
type memStore struct {
	mu sync.Mutex // guards m
	m  map[string][]byte
}

func (s *memStore) Load(name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.m[name]), nil
}

func (s *memStore) Save(name string, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[name] = bytes.Clone(b)
	return nil
}

// directory is a Directory of one target, and of others in name only.
type directory struct {
	target   *lun.Target
	others   []string
	accounts []san.CHAP
	portals  []PortalAddr
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
	dev  *slow
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
	dev := &slow{inner: inner}
	u, err := lun.NewUnit(v, dev, &memStore{m: map[string][]byte{}}, lun.UnitOptions{})
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
		dev.release()
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
	return &setup{Server: srv, t: t, dir: d, dev: dev, addr: l.Addr().String()}
}

// slow is a device that can be made to hold its requests.
type slow struct {
	inner block.Device

	mu      sync.Mutex // guards the fields below
	holding bool
	held    []*block.Request
	arrived chan struct{} // gets one token for each request held
}

// hold makes the device keep requests that may wait, until release. The
// channel tells of each.
func (s *slow) hold() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holding, s.arrived = true, make(chan struct{}, 1024)
	return s.arrived
}

func (s *slow) release() {
	s.mu.Lock()
	held := s.held
	s.holding, s.held = false, nil
	s.mu.Unlock()
	for _, r := range held {
		s.inner.Submit(r)
	}
}

func (s *slow) Info() block.Info { return s.inner.Info() }
func (s *slow) Close() error     { return s.inner.Close() }
func (s *slow) Status(off, n int64, limit int) ([]block.Extent, error) {
	return s.inner.Status(off, n, limit)
}

func (s *slow) Submit(r *block.Request) {
	s.mu.Lock()
	if s.holding {
		if r.Flags&block.NoWait != 0 {
			s.mu.Unlock()
			r.End(block.ErrWouldBlock)
			return
		}
		s.held = append(s.held, r)
		s.arrived <- struct{}{}
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.inner.Submit(r)
}

// within returns a context that ends long after anything a test waits for.
func longTime(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
