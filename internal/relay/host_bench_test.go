//go:build !race

package relay

import (
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"sango/internal/initiator"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/target"
)

// directory is a target.Directory of the target of one member.
type directory struct{ m *member }

func (d directory) Visible(string, netip.Addr) []string              { return []string{testIQN} }
func (d directory) Portals(string) []target.PortalAddr               { return nil }
func (d directory) Discovery(string, netip.Addr) ([]san.CHAP, error) { return nil, nil }
func (d directory) Login(string, netip.Addr, string) (target.Grant, error) {
	return target.Grant{Target: d.m.target, Host: "host"}, nil
}

// hostAt returns a session of a real initiator through a real target with member i of
// two, of which 0 owns the volume.
func hostAt(t testing.TB, i, depth int) *initiator.Session {
	t.Helper()
	w := newTwins(t, connected(t), nil)
	srv, err := target.New(target.Config{
		NopTimeout: time.Minute, MaxAge: time.Minute, NopInterval: time.Hour, Logger: slog.New(slog.NewTextHandler(testLog, nil)),
	}, directory{w.members[i]})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l, san.TPG(1+99*i)) }()
	s, err := initiator.Login(t.Context(), initiator.Config{
		Initiator: san.InitiatorPort{Name: "iqn.2026-11.test:host", ISID: initiator.NewISID()}, Target: testIQN, Portal: l.Addr().String(),
		PingInterval: -1, QueueDepth: depth,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Abort(initiator.ErrClosed)
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

// hostReads keeps depth reads of a host under way.
type hostReads struct {
	s     *initiator.Session
	n     uint32
	ended chan *initiator.Command
	all   []*initiator.Command
}

func newHostReads(t testing.TB, i, size, depth int) *hostReads {
	r := &hostReads{s: hostAt(t, i, depth), ended: make(chan *initiator.Command, depth)}
	for range depth {
		r.all = append(r.all, &initiator.Command{
			Attr: scsi.Simple, In: [][]byte{make([]byte, size)}, Done: func(c *initiator.Command) { r.ended <- c },
		})
	}
	for ok := false; !ok; { // until the relay serves, and unit attentions are told
		r.send(r.all[0])
		c := <-r.ended
		ok = c.Err == nil && c.Status == scsi.Good
	}
	r.run(t, 1000)
	return r
}

func (r *hostReads) send(c *initiator.Command) {
	r.n++
	blocks := uint32(len(c.In[0]) / 512)
	c.CDB = scsi.CDB{0: byte(scsi.OpRead10)}
	binary.BigEndian.PutUint32(c.CDB[2:], r.n*blocks%(64<<20/512-blocks))
	binary.BigEndian.PutUint16(c.CDB[7:], uint16(blocks))
	r.s.Submit(c)
}

func (r *hostReads) run(t testing.TB, n int) {
	under := 0
	for _, c := range r.all[:min(n, len(r.all))] {
		r.send(c)
		n--
		under++
	}
	for under > 0 {
		c := <-r.ended
		if c.Err != nil || c.Status != scsi.Good {
			t.Fatal(c.Err, c.Status)
		}
		if n > 0 {
			r.send(c)
			n--
		} else {
			under--
		}
	}
}

// BenchmarkHost is what a host sees of a volume that is owned here, or by
// another gateway. reads/op is how often it had to look for its answers.
func BenchmarkHost(b *testing.B) {
	for _, c := range []struct {
		name        string
		size, depth int
	}{
		{"op=read/size=4k/depth=1", 4 << 10, 1},
		{"op=read/size=4k/depth=32", 4 << 10, 32},
		{"op=read/size=64k/depth=16", 64 << 10, 16},
	} {
		for i, over := range []string{"none", "tcp"} {
			b.Run(c.name+"/over="+over, func(b *testing.B) {
				r := newHostReads(b, i, c.size, c.depth)
				b.SetBytes(int64(c.size))
				b.ReportAllocs()
				before := r.s.Stats().Reads
				b.ResetTimer()
				r.run(b, b.N)
				b.StopTimer()
				b.ReportMetric(float64(r.s.Stats().Reads-before)/float64(b.N), "reads/op")
			})
		}
	}
}
