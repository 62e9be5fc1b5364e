package vecio

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// A connection within the machine does not stay with BBR; another congestion
// control, and a connection that leaves the machine, stay as they are.
func TestUnpace(t *testing.T) {
	near, _ := tcpPair(t)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	get := func() (name string) {
		t.Helper()
		if e := raw.Control(func(fd uintptr) { name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		return name
	}
	set := func(name string) {
		t.Helper()
		if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name) }); e != nil {
			t.Fatal(e)
		}
	}
	for _, name := range []string{"reno", "cubic", "bbr"} {
		if set(name); err != nil {
			t.Logf("this machine has no %s: %v", name, err)
			continue
		}
		want := name
		if name == "bbr" {
			want = "reno"
		}
		if Unpace(near, raw); get() != want {
			t.Errorf("%s became %s", name, get())
		}
	}
}

func TestLocal(t *testing.T) {
	for _, c := range []struct {
		near, far string
		want      bool
	}{
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "127.0.0.2", true},
		{"::1", "::1", true},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::2", false},
	} {
		near, far := &net.TCPAddr{IP: net.ParseIP(c.near), Port: 1}, &net.TCPAddr{IP: net.ParseIP(c.far), Port: 2}
		if got := local(near, far); got != c.want {
			t.Errorf("%s to %s: %v", c.near, c.far, got)
		}
	}
	if local(&net.UnixAddr{}, &net.UnixAddr{}) {
		t.Error("a Unix socket is no TCP connection")
	}
}
