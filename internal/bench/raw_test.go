package bench

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/initiator"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/san"
	"sango/internal/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTarget = "iqn.2026-11.test:disks"

// directory is a target.Directory of one target.
type directory struct{ target *lun.Target }

func (d *directory) Visible(string, netip.Addr) []string              { return []string{testTarget} }
func (d *directory) Portals(string) []target.PortalAddr               { return nil }
func (d *directory) Discovery(string, netip.Addr) ([]san.CHAP, error) { return nil, nil }
func (d *directory) Login(string, netip.Addr, string) (target.Grant, error) {
	return target.Grant{Target: d.target, Host: "host"}, nil
}

// server is a target on loopback with a volume in memory at LUN 0.
type server struct {
	*target.Server
	target *lun.Target
	unit   *lun.Unit
	source Source
	once   sync.Once
	end    func()
}

func serve(t *testing.T, readOnly bool) *server {
	t.Helper()
	v := san.Volume{ID: san.NewUUID(), Name: "test", Driver: "mem", Size: 4 << 20, BlockSize: 512, PhysicalBlock: 4096, NAA: 0x0123456789abcde, ReadOnly: readOnly}
	dev, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, ReadOnly: readOnly})
	if err != nil {
		t.Fatal(err)
	}
	u, err := lun.NewUnit(v, dev, &luntest.Store{}, lun.UnitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{target: lun.NewTarget(testTarget, lun.TargetOptions{}), unit: u}
	s.target.SetMap(map[san.LUN]lun.MapEntry{0: {Unit: u}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Server, err = target.New(target.Config{
		NopTimeout: time.Minute, MaxAge: time.Minute,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}, &directory{s.target})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l, 1) }()
	s.end = func() {
		s.once.Do(func() {
			if err := errors.Join(s.Server.Close(), <-served); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		s.end()
		s.target.SetMap(nil)
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	s.source = Source{
		URLs: []initiator.URL{{Host: l.Addr().String(), Target: testTarget}}, Initiator: "iqn.2026-11.test:host", Raw: true, Depth: 8,
	}
	return s
}

func (s *server) open(t *testing.T) *Opened {
	t.Helper()
	o, err := s.source.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(t.Context(), false); err != nil {
			t.Error(err)
		}
	})
	return o
}

func TestSession(t *testing.T) {
	s := serve(t, false)
	s.source.Sessions, s.source.Digests = 3, "both"
	o := s.open(t)
	if i := o.Volumes[0].Info(); len(o.Volumes) != 3 || i.Size != 4<<20 || i.BlockSize != 512 || i.Caps.ReadOnly {
		t.Errorf("%d sessions, %+v", len(o.Volumes), i)
	}
	cfg := base(nil)
	cfg.Volumes, cfg.Pattern, cfg.Verify, cfg.FUA = o.Volumes, RandRW, true, true
	if r := mustRun(t, cfg); r.Errors != 0 || r.Verify.ReadBack == 0 {
		t.Errorf("%+v, %+v", r, r.Verify)
	}
}

// Many sessions, more than there are places to count, all get their share.
func TestManySessions(t *testing.T) {
	s := serve(t, false)
	s.source.Sessions, s.source.Digests = 3*maxShards+1, "none"
	cfg := base(nil)
	cfg.Volumes, cfg.Pattern, cfg.Count = s.open(t).Volumes, RandRW, 5000
	r := mustRun(t, cfg)
	if r.Errors != 0 || len(cfg.Volumes) != s.source.Sessions {
		t.Fatalf("%d sessions, %+v", len(cfg.Volumes), r)
	}
	if p := r.Spread; p == nil || p.Slowest <= 0 || p.Median < p.Slowest || p.Fastest < p.Median {
		t.Errorf("%+v", r.Spread)
	}
	if n := (r.Read.IOPS + r.Write.IOPS) * r.Seconds; n < 4900 || n > 5100 { // of rounded numbers
		t.Errorf("%.0f requests were counted, of 5000", n)
	}
}

// One session that can't be opened ends the opening of all.
func TestManySessionsOfWhichOneFails(t *testing.T) {
	s := serve(t, false)
	bad := s.source.URLs[0]
	bad.Host = "127.0.0.1:1"
	s.source.URLs, s.source.Sessions = append(s.source.URLs, bad), 100
	if o, err := s.source.Open(t.Context()); !errors.Is(err, san.ErrUnavailable) || o != nil {
		t.Error(o, err)
	}
}

func TestSessionReadOnly(t *testing.T) {
	if !serve(t, true).open(t).Volumes[0].Info().Caps.ReadOnly {
		t.Error("the volume is not read-only")
	}
}

func TestSessionWithoutLUN(t *testing.T) {
	s := serve(t, false)
	s.source.URLs[0].LUN = 5
	if _, err := s.source.Open(t.Context()); !errors.Is(err, san.ErrNotFound) || !strings.Contains(err.Error(), "LUN 5 of "+testTarget) {
		t.Error(err)
	}
}

// Unit attentions are nobody's error: the request is sent again.
func TestSessionUnitAttention(t *testing.T) {
	s := serve(t, false)
	cfg := base(nil)
	cfg.Volumes, cfg.Count, cfg.Time, cfg.Interval = s.open(t).Volumes, 0, 500*time.Millisecond, 10*time.Millisecond
	changes := 0
	cfg.Tick = func(Sample) { // the LUN inventory changes
		m := map[san.LUN]lun.MapEntry{0: {Unit: s.unit}}
		if changes++; changes%2 == 0 {
			m[1] = lun.MapEntry{Unit: s.unit}
		}
		s.target.SetMap(m)
	}
	if r := mustRun(t, cfg); r.Errors != 0 || changes == 0 {
		t.Errorf("%+v after %d changes", r, changes)
	}
}

func TestSessionLost(t *testing.T) {
	s := serve(t, false)
	cfg := base(nil)
	cfg.Volumes, cfg.Count, cfg.Time, cfg.Interval = s.open(t).Volumes, 0, time.Hour, 10*time.Millisecond
	cfg.Tick = func(Sample) { s.end() }
	if r := mustRun(t, cfg); r.Errors == 0 || r.Unanswered != 0 || !strings.Contains(r.Messages[0], "was lost") {
		t.Errorf("%+v", r)
	}
}

func TestSessionOtherOperations(t *testing.T) {
	v := serve(t, false).open(t).Volumes[0]
	for _, op := range []block.Op{block.OpFlush, block.OpDiscard, block.OpWriteZeroes} {
		ended := make(chan error, 1)
		v.Submit(&block.Request{Op: op, Done: func(r *block.Request) { ended <- r.Err }})
		if err := <-ended; block.ClassOf(err) != block.Unsupported {
			t.Errorf("%v: %v", op, err)
		}
	}
}
