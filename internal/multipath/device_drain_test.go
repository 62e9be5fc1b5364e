package multipath

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/initiator"
	"sango/internal/lun"
	"sango/internal/san"
	"sango/internal/target"
)

// twoServers gives the second portal of r a server of its own.
func twoServers(t *testing.T, r *rig) [2]*target.Server {
	t.Helper()
	s, err := target.New(target.Config{NopTimeout: 20 * time.Second, MaxAge: 20 * time.Second, Logger: r.log}, r)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l, 2) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	r.proxies[1].Retarget(l.Addr().String())
	return [2]*target.Server{r.server, s}
}

// drainRig is a volume open over two servers, under load.
func drainRig(t *testing.T) (*rig, [2]*target.Server, *Device, *load) {
	t.Helper()
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	servers := twoServers(t, r)
	d := r.open(r.config())
	bothUp(t, d)
	l := startLoad(t, block.Check(d, t))
	l.more(200)
	return r, servers, d, l
}

// clean wants no trace of drained paths in the counters: nothing was sent
// twice, no session had to be fenced, no path has an error against it.
func clean(t *testing.T, d *Device) {
	t.Helper()
	v := d.View()
	c := v.Counters
	if c.Fences != 0 || c.Quiesced != 0 || c.Retries != 0 || c.Refused != 0 || c.Losses != 0 || v.Unfenced != 0 {
		t.Errorf("%+v, %s", c, show(&v))
	}
	for _, p := range v.Paths {
		if p.Errors != 0 || p.Losses != 0 {
			t.Errorf("portal %s has %d errors and %d losses: %s", p.Portal, p.Errors, p.Losses, p.Error)
		}
	}
}

func drain(t *testing.T, s *target.Server) {
	t.Helper()
	if err := s.Drain(soon(t)); err != nil {
		t.Fatal(err)
	}
}

// One server after the other is drained, and comes back.
func TestDrainOneAfterTheOther(t *testing.T) {
	_, servers, d, l := drainRig(t)
	for i := range 6 {
		s := servers[i%2]
		drain(t, s)
		until(t, d, "one usable path", func(v *View) bool { return usable(v) == 1 })
		l.more(100)
		s.Undrain()
		bothUp(t, d)
		l.more(100)
	}
	l.end()
	clean(t, d)
}

// While all servers drain, requests wait.
func TestDrainAll(t *testing.T) {
	_, servers, d, l := drainRig(t)
	for _, s := range servers {
		drain(t, s)
	}
	until(t, d, "requests that wait", func(v *View) bool { return v.NoPath != nil && v.Waiting == loadWorkers })
	for _, s := range servers {
		s.Undrain()
	}
	bothUp(t, d)
	l.more(100)
	l.end()
	clean(t, d)
}

// A path that drains is shown so until its session is gone.
func TestDrainIsShown(t *testing.T) {
	r, servers, d, l := drainRig(t)
	r.proxies[0].Delay(100 * time.Millisecond)
	l.more(20)
	drained := make(chan error, 1)
	go func() { drained <- servers[0].Drain(soon(t)) }()
	until(t, d, "a path that drains", func(v *View) bool {
		p := v.Paths[0]
		return p.State == PathDraining && !p.Usable && v.NoPath == nil
	})
	if err := <-drained; err != nil {
		t.Error(err)
	}
	until(t, d, "a path that is down", func(v *View) bool { return v.Paths[0].State == PathDown })
	servers[0].Undrain()
	r.proxies[0].Delay(0)
	bothUp(t, d)
	l.end()
	clean(t, d)
}

// laterSession is a session under another login number.
type laterSession struct {
	session
	login uint32
}

func (s *laterSession) Instance() (san.Instance, bool) {
	i, noted := s.session.Instance()
	i.Login = s.login
	return i, noted
}

// A target may ask for a logout before the device has heard of the login.
func TestDrainOvertakesTheLogin(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	d := r.open(r.config())
	bothUp(t, d)
	p := d.all()[0]
	now := p.live.Load()
	s := &laterSession{session: now.session, login: now.login + 1000}
	p.draining(s.login)
	if v := d.View(); v.Paths[0].State != PathUp {
		t.Errorf("the session before it is taken for it: %s", show(&v))
	}
	p.up(s)
	if v := d.View(); v.Paths[0].State != PathDraining {
		t.Errorf("%s", show(&v))
	}
	p.down(s, initiator.ErrDraining)
	if v := d.View(); v.Paths[0].State != PathDown {
		t.Errorf("%s", show(&v))
	}
}

// sendOn makes servers that drain send logins on to portal i.
func (r *rig) sendOn(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.elsewhere = []netip.AddrPort{netip.MustParseAddrPort(r.proxies[i].Addr())}
}

// Where the portal that a login is sent on to has a path of its own, there is no
// second one.
func TestDrainSendsOnToAKnownPath(t *testing.T) {
	r, servers, d, l := drainRig(t)
	r.sendOn(1)
	for range 3 {
		drain(t, servers[0])
		until(t, d, "one usable path, and a login that failed", func(v *View) bool {
			return usable(v) == 1 && v.Paths[0].State == PathDown && strings.Contains(v.Paths[0].Error, "sends the login on")
		})
		l.more(100)
		if n := len(servers[1].Sessions()); n != 1 {
			t.Errorf("%d sessions with the other server", n)
		}
		servers[0].Undrain()
		bothUp(t, d)
		l.more(100)
	}
	l.end()
	clean(t, d)
}

// A path that is the only one goes where it is sent, and back at the next login.
func TestDrainSendsTheOnlyPathOn(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	servers := twoServers(t, r)
	r.portals = r.portals[:1]
	r.sendOn(1)
	cfg := r.config()
	cfg.URLs = cfg.URLs[:1]
	d := r.open(cfg)
	l := startLoad(t, block.Check(d, t))
	l.more(200)
	drain(t, servers[0])
	l.more(200)
	if n := len(servers[1].Sessions()); n != 1 {
		t.Errorf("%d sessions with the other server", n)
	}
	servers[0].Undrain()
	if n := servers[1].AskLogout(func(target.SessionInfo) bool { return true }); n != 1 {
		t.Errorf("%d sessions were asked to log out", n)
	}
	until(t, d, "a session where the path belongs", func(v *View) bool { return usable(v) == 1 && len(servers[0].Sessions()) == 1 })
	l.more(200)
	l.end()
	clean(t, d)
}
