package relay

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/cluster/model"
)

// lostAfter returns how long it takes from now until a peer was lost.
func (g *gateway) lostAfter() time.Duration {
	began := time.Now()
	g.wait(func() bool { return len(g.lost) > 0 })
	return time.Since(began)
}

// A process that died refuses connections: it is lost at once.
func TestPeerRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, _ := pair(t, nil)
		pass(10 * time.Second)
		if len(front.lost) > 0 {
			t.Fatal("lost, while it was there")
		}
		p.cut(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
		if d := front.lostAfter(); d > 0 {
			t.Errorf("lost after %v", d)
		}
		p.cut(nil)
		front.wait(func() bool { return slices.Equal(front.found, []model.Member{memberB, memberB}) })
		_ = owner
	})
}

// So does one that is another incarnation by now.
func TestPeerIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, _ := pair(t, nil)
		next := newGateway(t, model.Member{Gateway: "b", Incarnation: 3}, nil)
		p.mu.Lock()
		p.owner = next
		p.mu.Unlock()
		pass(2 * time.Second)
		p.cut(nil)
		if d := front.lostAfter(); d > 0 {
			t.Errorf("lost after %v", d)
		}
		_ = owner
	})
}

// Where nobody says anything any more it takes the time of silence, and the
// connections go later. A link that breaks and is there again is no loss.
func TestPeerIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, _ := pair(t, nil)
		p.cut(nil)
		pass(time.Second)
		if len(front.lost) > 0 {
			t.Fatal("lost, when a link broke")
		}
		p.cut(errors.New("no route"))
		if d := front.lostAfter(); d < 700*time.Millisecond || d > 1100*time.Millisecond {
			t.Errorf("lost after %v", d)
		}
		_ = owner
	})
}

// halfOpen is a connection whose bytes are lost, both ways, once it is cut.
type halfOpen struct {
	net.Conn
	cut chan struct{}
}

func (h *halfOpen) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	select {
	case <-h.cut:
		if err == nil {
			return h.Read(b)
		}
	default:
	}
	return n, err
}

func (h *halfOpen) Write(b []byte) (int, error) {
	select {
	case <-h.cut:
		return len(b), nil
	default:
		return h.Conn.Write(b)
	}
}

func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner := alone(t, nil)
		a, b := net.Pipe()
		h := &halfOpen{Conn: a, cut: make(chan struct{})}
		dialled := false
		front := newGateway(t, memberA, func(c *Config) {
			c.Links = 1
			c.Dial = func(context.Context, string) (net.Conn, error) {
				if dialled {
					return nil, errDenied
				}
				dialled = true
				return h, nil
			}
		})
		owner.node.accept(b)
		front.node.SetPeers([]Peer{{Member: memberB, Addr: "b:1"}})
		front.wait(func() bool { return len(front.found) > 0 })
		synctest.Wait()
		in := owner.inbound(memberA, 0)
		close(h.cut)
		began := time.Now()
		if d := front.lostAfter(); d < 700*time.Millisecond || d > 1200*time.Millisecond {
			t.Errorf("lost after %v", d)
		}
		<-in.conn.quit
		if d := time.Since(began); d < 2500*time.Millisecond || d > 3500*time.Millisecond {
			t.Errorf("the owner closed it after %v", d)
		}
	})
}

// A gateway that stood still itself accuses nobody for that time.
func TestOwnPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, _, _ := pair(t, nil)
		synctest.Wait()
		l := front.node.peer(memberB).lines[0]
		l.mu.Lock()
		c := l.conn
		l.mu.Unlock()
		pause := 10 * time.Second
		p := front.node.peer(memberB)
		// As run does it after a pause: the clock has gone on, and nothing was read.
		now := time.Now().Add(pause)
		still := stoodStill(time.Now(), now)
		c.silence(now, still, front.node.cfg.Dead)
		p.tick(now, still)
		if len(front.lost) > 0 || c.err != nil {
			t.Errorf("lost: %v, %v", front.lost, c.err)
		}
		c.silence(now, 0, front.node.cfg.Dead)
		p.tick(now.Add(pause), 0)
		if len(front.lost) != 1 {
			t.Error("it is excused for ever")
		}
		_ = owner
		if d := stoodStill(now, now.Add(2*tickTime)); d > 0 {
			t.Errorf("a busy machine is excused for %v", d)
		}
	})
}

// Who is over in the view is not called any more, and what it sends is not
// executed.
func TestPeerOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, owner, p, _ := pair(t, nil)
		owner.node.SetPeers([]Peer{{Member: memberA, Addr: "a:1"}})
		synctest.Wait()
		if owner.inbound(memberA, 0) == nil {
			t.Fatal("a member's link was ended")
		}
		owner.node.SetPeers(nil)
		p.mu.Lock()
		p.deny = errDenied
		p.mu.Unlock()
		synctest.Wait()
		if owner.inbound(memberA, 0) != nil {
			t.Error("its link stands")
		}
		front.node.SetPeers(nil)
		synctest.Wait()
		if n := len(front.node.peers); n != 0 {
			t.Errorf("%d peers are left", n)
		}
	})
}

// The token of a command is the last one that had come when it arrived, and
// is never a later one.
func TestTokens(t *testing.T) {
	var k tokens
	now := time.Now()
	at := func(ms int) time.Time { return now.Add(time.Duration(ms) * time.Millisecond) }
	if _, ok := k.before(now); ok {
		t.Error("a token from nowhere")
	}
	for i := range 40 {
		k.add(uint64(i+1), at(250*i))
	}
	k.add(17, at(250*40))    // late, by another line
	k.add(100, at(250*39+9)) // too soon
	for _, c := range []struct {
		ms   int
		want uint64
	}{{250 * 39, 40}, {1e6, 40}, {250*39 - 1, 39}, {250 * 20, 21}, {250 * 8, 9}, {250*8 - 1, 0}, {-1, 0}} {
		if got, ok := k.before(at(c.ms)); got != c.want || ok != (c.want > 0) {
			t.Errorf("at %d ms: %d, %v; want %d", c.ms, got, ok, c.want)
		}
	}
	if k.last() != 40 {
		t.Error(k.last())
	}
}
