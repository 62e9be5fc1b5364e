package relay

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/lun"
	"sango/internal/scsi"
)

// laggard is a connection whose writes take a while.
type laggard struct {
	net.Conn
	lag atomic.Int64
}

func (c *laggard) Write(b []byte) (int, error) {
	if lag := c.lag.Load(); lag > 0 {
		pass(time.Duration(lag))
	}
	return c.Conn.Write(b)
}

// lagging connects two gateways by pipes that can be slowed down.
func lagging(m, other *member) (func(context.Context, string) (net.Conn, error), string) {
	dial, addr := simulated(m, other)
	return func(ctx context.Context, a string) (net.Conn, error) {
		c, err := dial(ctx, a)
		if err != nil {
			return nil, err
		}
		return &laggard{Conn: c}, nil
	}, addr
}

// line returns the line that s uses at the front.
func (s *session) line(w *twins) *line {
	return s.m.node.peer(w.members[w.owner].name).line(s.id)
}

// lag slows down what goes over l.
func (l *line) lag(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn.pipe.(*plainPipe).conn.(*laggard).lag.Store(int64(d))
}

func reserve6() *lun.Task {
	k := &lun.Task{}
	k.CDB[0] = byte(scsi.OpReserve6)
	return k
}

// What a session held is free when its end is told, for commands that come
// over another line, and for those of the owner's own hosts.
func TestDetachEndsReservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, lagging, func(c *Config) { c.Links = 2 })
		pass(time.Second)
		front := w.members[1]
		holder := front.login(t, 1)
		isid := byte(2)
		next := front.login(t, isid)
		for next.line(w) == holder.line(w) {
			isid++
			next = front.login(t, isid)
		}
		for _, s := range []*session{next, w.members[0].login(t, 1)} {
			for _, x := range []*session{holder, s} {
				for !x.write(8, 1) { // past the power on
					continue
				}
			}
			if st, ok := holder.do(reserve6()); !ok || st != scsi.Good {
				t.Fatal(st)
			}
			holder.line(w).lag(300 * time.Millisecond)
			holder.nexus.Detach()
			if st, ok := s.do(reserve6()); !ok || st != scsi.Good {
				t.Errorf("%v after the holder has logged out", st)
			}
			holder.line(w).lag(0)
			s.nexus.Detach()
			holder.attach()
		}
	})
}

// gone returns a function that tells whether it was called, and one that is it.
func gone() (was func() bool, f func()) {
	c := make(chan struct{})
	return func() bool {
		synctest.Wait()
		select {
		case <-c:
			return true
		default:
			return false
		}
	}, func() { close(c) }
}

// The end of a nexus waits for the owner as long as there is one, and answers.
func TestPartWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			what string
			then func(p *piped, v *Volume, end func())
		}{
			{"answer", func(_ *piped, _ *Volume, end func()) { end() }},
			{"loss", func(p *piped, _ *Volume, end func()) { p.cut(errDenied); end() }},
			{"another owner", func(_ *piped, v *Volume, end func()) { v.Over(); end() }},
			{"silence", func(_ *piped, _ *Volume, end func()) { pass(3*time.Second - 500*time.Millisecond + tickTime); end() }},
		} {
			front, owner, p, v := pair(t, nil)
			started := owner.unit.slow()
			h := front.host(v, 1)
			h.send(write(1)) // against the rules, a task keeps the owner
			old := <-started
			owner.unit.all()[0].killed = func(*lun.Task) {}
			was, f := gone()
			v.Part(h.nexus, 0, f)
			pass(500 * time.Millisecond)
			if was() {
				t.Errorf("%s: the owner has not ended it", c.what)
			}
			c.then(p, v, func() {
				if c.what != "answer" && !was() {
					t.Errorf("%s: it still waits", c.what)
				}
				finish(old, scsi.Good)
			})
			if !was() {
				t.Errorf("%s: it still waits", c.what)
			}
			front.node.Close()
			owner.node.Close()
		}
	})
}

// It does not wait where nobody is to be asked, and waits for the answer to what
// was asked before.
func TestPartBeforeItIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, v := pair(t, nil)
		attached := make(chan struct{})
		owner.unit.attach = func() error { <-attached; return nil }
		h := front.host(v, 1)
		was, f := gone()
		v.Part(h.nexus, 0, f)
		if was() {
			t.Error("the owner has not said that it took it up")
		}
		close(attached)
		if !was() {
			t.Error("it still waits")
		}
		if n := len(owner.unit.all()); n != 0 {
			t.Errorf("%d nexuses are left", n)
		}
		p.cut(errDenied)
		synctest.Wait()
		h = front.host(v, 2)
		was, f = gone()
		v.Part(h.nexus, 0, f)
		if !was() {
			t.Error("it waits for an owner that can't be reached")
		}
		was, f = gone()
		v.Part(h.nexus, 0, f)
		if !was() {
			t.Error("it waits for the end of what has ended")
		}
	})
}
