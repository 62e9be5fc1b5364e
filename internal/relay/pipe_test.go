package relay

import (
	"net"
	"testing"
	"time"
)

// The time that a write had which waited does not count for later ones.
func TestWriteAfterOneThatWaited(t *testing.T) {
	t.Parallel()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newTCPPipe(c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	for _, wait := range []bool{true, false} {
		if n, err := p.write([][]byte{{1}}, wait); n != 1 || err != nil {
			t.Fatalf("waiting %t: %d, %v", wait, n, err)
		}
		if wait {
			<-time.After(stallTime + 100*time.Millisecond)
		}
	}
}
