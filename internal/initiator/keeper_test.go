package initiator

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
)

func TestKeeperReconnectsUnderTheSameISIDAndTheNextInstance(t *testing.T) {
	s := start(t)
	cfg := s.config()
	cfg.Instance = san.Instance{Group: 7, Run: 9}
	ups, downs := make(chan *Session, 1), make(chan error, 1)
	k := NewKeeper(cfg, func(s *Session) { ups <- s }, func(_ *Session, err error) { downs <- err })
	k.MinWait = time.Millisecond
	k.Start()
	reason := errors.New("test")
	for i := range uint32(5) {
		x := <-ups
		if got, noted := x.Instance(); got.Login != i+1 || got.Run != 9 || !noted {
			t.Errorf("instance %v, noted %v", got, noted)
		}
		ready(t, x)
		x.Drop(reason)
		if err := <-downs; !errors.Is(err, reason) {
			t.Error(err)
		}
	}
	x := <-ups
	k.Stop()
	if err := <-downs; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := x.Err(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := k.Session(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	k.Stop()
}

// The waits grow up to MaxWait, and Stop ends them.
func TestKeeperBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Time
		refused := errors.New("refused")
		cfg := Config{
			Initiator: san.InitiatorPort{Name: hostName}, Target: targetName, Portal: "192.0.2.1",
			Dial: func(context.Context, string, string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Now())
				return nil, refused
			},
		}
		k := NewKeeper(cfg, nil, nil)
		failures := 0
		k.Failed = func(error) { failures++ }
		k.Start()
		time.Sleep(2 * time.Minute) //nolint:forbidigo // of a synctest bubble
		k.Stop()
		if _, err := k.Session(); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if len(at) < 16 || failures != len(at) {
			t.Fatalf("%d attempts, %d failures", len(at), failures)
		}
		for i := 1; i < len(at); i++ {
			nominal := min(DefaultMinWait<<(i-1), DefaultMaxWait)
			if d := at[i].Sub(at[i-1]); d < nominal/2 || d > nominal*3/2 {
				t.Errorf("wait %d was %v", i, d)
			}
		}
	})
}

func TestKeeperStopsWhileItConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeeper(Config{
			Initiator: san.InitiatorPort{Name: hostName}, Target: targetName, Portal: "192.0.2.1",
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		}, nil, nil)
		k.Start()
		synctest.Wait()
		k.Stop()
		NewKeeper(Config{}, nil, nil).Stop()
	})
}

// A target that accepts and says nothing, and one that stops in the middle of
// the login, are given up in LoginTimeout.
func TestLoginIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		go func() { _ = newLink(b, nil).next() }()
		begin := time.Now()
		_, err := Login(t.Context(), Config{
			Initiator: san.InitiatorPort{Name: hostName}, Target: targetName, Portal: "192.0.2.1", LoginTimeout: someTime,
			Dial: func(context.Context, string, string) (net.Conn, error) { return a, nil },
		})
		if !errors.Is(err, ErrNoAnswer) || time.Since(begin) != someTime {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// redirector answers each login with a redirection.
func redirector(t *testing.T, c net.Conn, to string) {
	l := newLink(c, nil)
	defer c.Close()
	if err := l.next(); err != nil {
		t.Error(err)
		return
	}
	r, err := iscsi.ParseLoginRequest(&l.h)
	if err != nil {
		t.Error(err)
	}
	if _, err := l.readInto(make([]byte, l.unread)); err != nil {
		t.Error(err)
	}
	text := "TargetAddress=" + to + "\x00"
	resp := iscsi.LoginResponse{Status: iscsi.LoginMovedTemporarily, ISID: r.ISID, ITT: r.ITT, DataLen: len(text), ExpCmdSN: r.CmdSN, MaxCmdSN: r.CmdSN}
	var h iscsi.BHS
	resp.Put(&h)
	(&peer{link: l, t: t}).send(&h, []byte(text))
}

func TestRedirectionsAreFollowedAndBounded(t *testing.T) {
	s := start(t)
	cfg := s.config()
	cfg.Portal = "192.0.2.1:3260"
	to := s.addr
	dials := 0
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials++; addr == s.addr {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		a, b := net.Pipe()
		go redirector(t, b, to)
		return a, nil
	}
	x, err := Login(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if x.Portal() != s.addr || dials != 2 {
		t.Errorf("%s after %d", x.Portal(), dials)
	}
	x.Abort(ErrClosed)
	to, dials = "192.0.2.2:3260", 0
	var e *iscsi.LoginError
	if _, err = Login(t.Context(), cfg); err == nil || errors.As(err, &e) || dials != maxRedirects+1 {
		t.Errorf("%v after %d", err, dials)
	}
}

// A redirection is for one login: the next one begins where it is configured to,
// and is sent on only where it is to follow.
func TestKeeperReturnsAfterARedirection(t *testing.T) {
	s := start(t)
	cfg := s.config()
	const home = "192.0.2.1:3260"
	cfg.Portal = home
	var mu sync.Mutex
	var dialled []string
	follow := true
	cfg.Follow = func(to string) bool {
		mu.Lock()
		defer mu.Unlock()
		return follow && to == s.addr
	}
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		mu.Lock()
		dialled = append(dialled, addr)
		mu.Unlock()
		if addr == s.addr {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		a, b := net.Pipe()
		go redirector(t, b, s.addr)
		return a, nil
	}
	ups, failed := make(chan *Session, 1), make(chan error, 64)
	k := NewKeeper(cfg, func(s *Session) { ups <- s }, func(*Session, error) {})
	k.MinWait, k.MaxWait = time.Millisecond, time.Millisecond
	k.Failed = func(err error) { failed <- err }
	k.Start()
	for range 2 {
		x := <-ups
		if x.Portal() != s.addr {
			t.Errorf("the session is with %s", x.Portal())
		}
		mu.Lock()
		got := dialled
		dialled = nil
		mu.Unlock()
		if !slices.Equal(got, []string{home, s.addr}) {
			t.Errorf("dialled %q", got)
		}
		x.Drop(ErrClosed)
	}
	x := <-ups
	mu.Lock()
	follow, dialled = false, nil
	mu.Unlock()
	x.Drop(ErrClosed)
	var e *iscsi.LoginError
	if err := <-failed; !errors.As(err, &e) || e.Status != iscsi.LoginMovedTemporarily {
		t.Error(err)
	}
	k.Stop()
	mu.Lock()
	defer mu.Unlock()
	if slices.Contains(dialled, s.addr) {
		t.Errorf("it was followed: %q", dialled)
	}
}

// A target that drops a session says how long it wants to be left alone.
func TestKeeperLeavesTheTargetAlone(t *testing.T) {
	for _, c := range []struct {
		event iscsi.AsyncEvent
		secs  uint16
		want  time.Duration
	}{
		{iscsi.AsyncDropSession, 7, 7 * time.Second},
		{iscsi.AsyncDrop, 3, 3 * time.Second},
		{iscsi.AsyncDropSession, 0, 0},
		{iscsi.AsyncDropSession, 0xffff, maxRest},
	} {
		synctest.Test(t, func(t *testing.T) {
			conns := make(chan net.Conn, 8)
			k := NewKeeper(Config{
				Initiator: san.InitiatorPort{Name: hostName}, Target: targetName, Portal: "192.0.2.1", PingInterval: -1,
				Dial: func(context.Context, string, string) (net.Conn, error) {
					a, b := net.Pipe()
					conns <- b
					return a, nil
				},
			}, func(*Session) {}, func(*Session, error) {})
			k.Start()
			p := &peer{link: newLink(<-conns, nil), t: t}
			if err := p.login(iscsi.DefaultLimits()); err != nil {
				t.Fatal(err)
			}
			a := iscsi.Async{Event: c.event, StatSN: p.take(), ExpCmdSN: p.cmdSN, MaxCmdSN: p.cmdSN + 15, Param2: c.secs}
			var h iscsi.BHS
			a.Put(&h)
			begin := time.Now()
			p.send(&h, nil)
			synctest.Wait()
			k.Retry() // others may be back, this one is not
			b := <-conns
			d := time.Since(begin)
			if d != c.want {
				t.Errorf("%v with %d s: logged in again after %v", c.event, c.secs, d)
			}
			b.Close()
			p.conn.Close()
			k.Stop()
		})
	}
}
