package initiator

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// A process that is killed says no goodbye: the kernel closes its connections.
// What is queued in them must not be sent any more, or a write could come to
// the target after the next process has sent it again and written newer data.
func TestKilledProcessSendsNothingMore(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			close(far)
			return
		}
		p := &peer{link: newLink(c, nil), t: t}
		if err := p.login(iscsi.DefaultLimits()); err != nil {
			t.Error(err)
		}
		far <- c
	}()
	var raw net.Conn
	s, err := Login(t.Context(), Config{
		Initiator: san.InitiatorPort{Name: hostName}, Target: targetName, Portal: l.Addr().String(), PingInterval: -1,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			raw, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return raw, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Abort(ErrClosed)
	c, ok := <-far
	if !ok {
		t.Fatal("no connection came")
	}
	defer c.Close()
	raw.Close() // as the kernel does at the end of a process
	<-s.Done()
	_ = c.SetReadDeadline(time.Now().Add(someTime))
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v instead of a reset: what was queued was sent", err)
	}
}
