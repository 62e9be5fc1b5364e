package relay

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"sango/internal/certs"
	"sango/internal/certs/certstest"
	"sango/internal/lun"
	"sango/internal/scsi"
)

// authority signs certificates for tests.
type authority struct {
	*certstest.Authority
	t testing.TB
	n int
}

func newAuthority(t testing.TB) *authority { return &authority{Authority: certstest.New(t), t: t} }

// config returns what a gateway shows whose certificate names who.
func (a *authority) config(names []string, ips ...string) *certs.Kept {
	a.n++
	return a.load(a.Issue(a.t, fmt.Sprint(a.n), certstest.Of(names, ips...)))
}

func (a *authority) load(f certs.Files) *certs.Kept {
	k, err := certs.Load(f, slog.New(slog.NewTextHandler(a.t.Output(), nil)))
	if err != nil {
		a.t.Fatal(err)
	}
	return k
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	owner := newGateway(t, memberB, func(c *Config) { c.TLS = a.config([]string{"b"}) })
	front := newGateway(t, memberA, func(c *Config) { c.TLS = a.config(nil, "127.0.0.1") })
	front.node.SetPeers([]Peer{owner.listen()})
	front.wait(func() bool { return len(front.found) > 0 })
	v := front.node.Volume(testVolume, 7, memberB)
	h := front.host(v, 1)
	for _, size := range []int{1, 4096, 70_000, 5 << 20} {
		data := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		owner.unit.set(func(r *fakeRemote, k *lun.Task) {
			if !k.Read && !bytes.Equal(bytes.Join(k.Out.Vec(), nil), data) {
				t.Error("wrong data came")
			}
			if k.Read {
				k.In.Append(buf(data))
			}
			r.done(k, scsi.Good)
		})
		expect(t, h.send(write(data...)), lun.Ended, scsi.Good)
		k := expect(t, h.send(read(size)), lun.Ended, scsi.Good)
		if got := bytes.Join(k.In.Vec(), nil); !bytes.Equal(got, data) {
			t.Errorf("%d bytes, wrong ones", len(got))
		}
	}
}

// Neither side speaks with whoever has no certificate of the authority, or one
// that names somebody else.
func TestTLSRefuses(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	mine := a.config([]string{"b"})
	for name, c := range map[string]struct{ front, owner *certs.Kept }{
		"a front of another authority":    {b.config(nil, "127.0.0.1"), mine},
		"an owner of another authority":   {mine, b.config([]string{"b"})},
		"an owner of another name":        {mine, a.config([]string{"c"}, "127.0.0.2")},
		"a front without a certificate":   {a.load(certs.Files{CA: a.CA()}), mine},
		"a front that speaks without it":  {nil, mine},
		"an owner that speaks without it": {mine, nil},
	} {
		t.Run(name, func(t *testing.T) {
			owner := newGateway(t, memberB, func(x *Config) { x.TLS = c.owner })
			front := newGateway(t, memberA, func(x *Config) {
				x.TLS, x.Handshake = c.front, 500*time.Millisecond
				x.Beat, x.Silence = 100*time.Millisecond, 300*time.Millisecond
			})
			front.node.SetPeers([]Peer{owner.listen()})
			front.wait(func() bool { return len(front.lost) > 0 })
			if len(front.found) > 0 {
				t.Error("it was taken for the peer")
			}
		})
	}
}

// warnings keeps those of a log.
type warnings struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *warnings) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *warnings) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// Certificates that do not fit are told on both sides, once.
func TestTLSRefusalIsTold(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	var called, calling warnings
	owner := newGateway(t, memberB, func(c *Config) { c.TLS, c.Logger = a.config([]string{"b"}), called.log() })
	front := newGateway(t, memberA, func(c *Config) {
		c.TLS, c.Logger, c.Handshake = b.config(nil, "127.0.0.1"), calling.log(), 500*time.Millisecond
	})
	front.node.SetPeers([]Peer{owner.listen()})
	for !strings.Contains(called.String(), "tls: ") || !strings.Contains(calling.String(), "unknown authority") {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatalf("the called one says %q, the calling one %q", &called, &calling)
		}
	}
	<-time.After(500 * time.Millisecond) // some tries more
	if n, m := strings.Count(called.String(), "certificates"), strings.Count(calling.String(), "because of certificates"); n != 1 || m != 1 {
		t.Errorf("told %d and %d times:\n%s%s", n, m, &called, &calling)
	}
}

// A certificate that was replaced is shown to whoever connects next.
func TestTLSRotation(t *testing.T) {
	a := newAuthority(t)
	of := func() certs.Files { return a.Issue(t, "b", certstest.Of([]string{"b"})) }
	files := of()
	owner := newGateway(t, memberB, func(c *Config) { c.TLS = a.load(files) })
	serial := func() string {
		p := owner.listen()
		c, err := tls.Dial("tcp", p.Addr, ClientTLS(a.config([]string{"a"}), "b", p.Addr))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	of()
	if second := serial(); second == first {
		t.Error("the former certificate is shown")
	}
}

// A connection that dies is known to have done so while bytes can still be
// read: what is in them and too old is not executed.
func TestHungUp(t *testing.T) {
	front, owner, v := tcp(t, func(c *Config) { c.Links = 1 })
	h := front.host(v, 1)
	expect(t, h.send(write(1)), lun.Ended, scsi.Good)
	in := owner.inbound(memberA, 0)
	if in.conn.pipe.hungUp() {
		t.Fatal("it hung up")
	}
	l := v.peer.lines[0]
	l.mu.Lock()
	l.conn.pipe.kill()
	l.mu.Unlock()
	<-in.conn.quit
	if !in.conn.pipe.hungUp() {
		t.Error("it did not hang up")
	}
}
