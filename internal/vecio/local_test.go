package vecio

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// congestion returns the name of a connection's congestion control, after it
// was set to name, if that is not empty.
func congestion(t *testing.T, raw syscall.RawConn, name string) (string, error) {
	t.Helper()
	var got string
	var err error
	if e := raw.Control(func(fd uintptr) {
		if name != "" {
			if err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name); err != nil {
				return
			}
		}
		got, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	}); e != nil {
		t.Fatal(e)
	}
	return got, err
}

// accepted returns the accepting end of a connection to l, which comes from from,
// nil for any address.
func accepted(t *testing.T, l net.Listener, from net.Addr) (*net.TCPConn, syscall.RawConn) {
	t.Helper()
	far, err := (&net.Dialer{LocalAddr: from}).Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	near := c.(*net.TCPConn)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return near, raw
}

// A connection within the machine does not stay with BBR; one with another
// congestion control stays as it is.
func TestUnpace(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, raw := accepted(t, l, nil)
	for name, want := range map[string]string{"reno": "reno", "cubic": "cubic", "bbr": "reno"} {
		if _, err := congestion(t, raw, name); err != nil {
			t.Logf("this machine has no %s: %v", name, err)
			continue
		}
		Unpace(near, raw)
		if got, err := congestion(t, raw, ""); got != want || err != nil {
			t.Errorf("%s became %s, %v", name, got, err)
		}
		for address, want := range map[string]string{"127.0.0.1:3260": want, "192.0.2.1:3260": name, "none": name} {
			_, _ = congestion(t, raw, name)
			if err := DialUnpaced("tcp", address, raw); err != nil {
				t.Error(err)
			}
			if got, err := congestion(t, raw, ""); got != want || err != nil {
				t.Errorf("to %s: %s became %s, %v", address, name, got, err)
			}
		}
	}
}

// The address that a connection within the machine comes from need not be the
// one that it goes to: for a second address of an interface it is the first.
func TestUnpaceFromAnyAddress(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil {
			continue
		}
		near, raw := accepted(t, l, &net.TCPAddr{IP: n.IP})
		if _, err := congestion(t, raw, "bbr"); err != nil {
			t.Logf("this machine has no BBR: %v", err)
			return
		}
		Unpace(near, raw)
		if got, err := congestion(t, raw, ""); got != "reno" || err != nil {
			t.Errorf("from %v: bbr became %s, %v", n.IP, got, err)
		}
	}
}

// The addresses of this machine are those of its interfaces and all loopback
// ones.
func TestOwn(t *testing.T) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !own(n.IP) {
			t.Errorf("%v is not ours", n.IP)
		}
	}
	for ip, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.2": true, "::1": true, "::ffff:127.0.0.1": true,
		"192.0.2.1": false, "2001:db8::1": false, "": false,
	} {
		if own(net.ParseIP(ip)) != want {
			t.Errorf("%q: %v", ip, !want)
		}
	}
}
