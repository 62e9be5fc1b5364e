package target

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"sango/internal/block/mem"
	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/lun"
	"sango/internal/lun/luntest"
	"sango/internal/san"
)

// The hostile tests attack a live server, on LUN 1, while a good client writes
// and verifies LUN 0 all the time. At the end every goroutine and every byte
// of memory has to be given back.

// siege is a server under attack.
type siege struct {
	*setup
	t    *testing.T
	good *goodClient
	rnd  *rand.Rand
}

var lun1 = [8]byte{0, 1}

// besiege starts a server with two units and the good client.
func besiege(t *testing.T, change ...func(*Config, *directory)) *siege {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // registered first: runs last
	tgt := lun.NewTarget(targetName, lun.TargetOptions{})
	units := map[san.LUN]lun.MapEntry{}
	for l := range san.LUN(2) {
		v := san.Volume{ID: san.NewUUID(), Name: "test", Driver: "mem", Size: 16 << 20, BlockSize: 512, PhysicalBlock: 4096, NAA: 0x0123456789abc00 + uint64(l)}
		dev, err := mem.New(mem.Options{Size: v.Size, BlockSize: v.BlockSize, PhysicalBlock: v.PhysicalBlock})
		if err != nil {
			t.Fatal(err)
		}
		u, err := lun.NewUnit(v, dev, &luntest.Store{}, lun.UnitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		units[l] = lun.MapEntry{Unit: u}
	}
	tgt.SetMap(units)
	t.Cleanup(func() {
		tgt.SetMap(nil)
		for _, e := range units {
			if err := e.Unit.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := &siege{t: t, rnd: rand.New(rand.NewPCG(seed, 0))}
	s.setup = start(t, append([]func(*Config, *directory){func(_ *Config, d *directory) { d.target = tgt }}, change...)...)
	s.good = newGoodClient(t, s.setup, seed)
	t.Cleanup(func() {
		s.good.stop()
		s.settle(0)
		if n := s.Totals().Memory; n != 0 {
			t.Errorf("%d bytes of task memory are still charged", n)
		}
	})
	return s
}

// settle waits until n connections are left, the good client's included.
func (s *siege) settle(n int) {
	s.t.Helper()
	late := longTime(s.t)
	if s.t.Context().Err() != nil { // in a cleanup
		late = nil
	}
	for {
		s.mu.Lock()
		left, changed := len(s.conns), s.changed
		s.mu.Unlock()
		if left <= n {
			return
		}
		if late == nil {
			<-changed // the time-out of the test binary is the limit
			continue
		}
		select {
		case <-changed:
		case <-late.Done():
			s.t.Fatalf("%d connections are left, want %d", left, n)
		}
	}
}

// dial connects an attacker.
func (s *siege) dial() *iscsitest.Conn {
	s.t.Helper()
	c, err := iscsitest.Dial(s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// attacker returns the login of an attacker, whose name is not the good
// client's.
func attacker(keys ...string) iscsitest.Login {
	l := iscsitest.Login{Initiator: hostName + "2", Target: targetName, ISID: isid(9)}
	for i := 0; i < len(keys); i += 2 {
		l.Keys = append(l.Keys, iscsi.Pair{Key: keys[i], Value: keys[i+1]})
	}
	return l
}

// login connects an attacker and logs it in.
func (s *siege) login(keys ...string) *iscsitest.Conn {
	s.t.Helper()
	c := s.dial()
	if err := c.Login(attacker(keys...)); err != nil {
		s.t.Fatal(err)
	}
	if r, err := c.Ready(lun1); err != nil || r.Good() != nil {
		s.t.Fatalf("%v, %v", r.Good(), err)
	}
	return c
}

// wantClosed reads until the server has closed c, and fails the test if
// anything but what allowed takes comes before that.
func wantClosed(t *testing.T, c *iscsitest.Conn, allowed ...iscsi.Opcode) {
	t.Helper()
	for {
		p, err := c.Receive()
		switch {
		case gone(err):
			return
		case err != nil:
			t.Fatalf("waiting for the end: %v", err)
		}
		ok := p.Opcode() == iscsi.OpNopIn && p.ITT() == iscsi.NoITT
		for _, op := range allowed {
			ok = ok || p.Opcode() == op
		}
		if !ok {
			t.Fatalf("a %v came, want the end of the connection", p.Opcode())
		}
	}
}

// gone reports whether err is the end of a connection, of whatever kind.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// usable checks that the attacker's session still works as it should.
func usable(t *testing.T, c *iscsitest.Conn) {
	t.Helper()
	if err := c.Ping([]byte("still there")); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte{byte(c.CmdSN)}, 8<<10)
	if err := c.WriteBlocks(lun1, 64, data, 512); err != nil {
		t.Fatal(err)
	}
	got, err := c.Read(lun1, 64, 16, 512)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read back: %v", err)
	}
}
