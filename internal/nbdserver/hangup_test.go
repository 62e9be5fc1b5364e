package nbdserver

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/block/mem"
	"sango/internal/nbd"
)

// What a client left in a connection that it has given up is not executed: it
// may have sent it again through another one, and then something newer.
func TestRequestsOfAConnectionThatWasGivenUp(t *testing.T) {
	const size = 64 << 10 // the least that ConnMemory can be
	for name, o := range map[string]Options{
		"depth":  {Depth: 1},
		"memory": {MaxRequest: size, ConnMemory: size},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, o)
			d := delay.New(memory(t, mem.Options{}), delay.Options{})
			w.add("", block.Check(d, t), ExportOptions{})
			here, there := unixPair(t)
			over := make(chan error, 1)
			go func() { over <- w.s.ServeConn(there, "") }()
			first, second := &client{t: t, nc: here}, w.simple("")
			d.Hold(block.OpWrite)
			old, newer := pattern(size, 1), pattern(size, 2)
			first.send(nbd.CmdWrite, 0, 0, size, old)
			wait(t, d.Arrived(), "the first write at the device")
			first.send(nbd.CmdWrite, 0, size, size, old) // waits in the server, or in the socket
			first.send(nbd.CmdWrite, 0, size, size, old)
			if err := errors.Join(here.CloseWrite(), here.CloseRead()); err != nil { // as the kernel does
				t.Fatal(err)
			}
			second.send(nbd.CmdWrite, 0, size, size, newer)
			wait(t, d.Arrived(), "the newer write at the device")
			d.Release()
			if err := <-over; err == nil {
				t.Error("the connection ended in order")
			}
			if a := second.receive(0, 0); a.errno != 0 {
				t.Errorf("the newer write ended with %v", a.errno)
			}
			got := make([]byte, size)
			if err := block.ReadAt(d, got, size); err != nil || string(got) != string(newer) {
				t.Errorf("the newer write is undone, or %v", err)
			}
		})
	}
}

// unixPair returns the two ends of a connection.
func unixPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near.(*net.UnixConn), far.(*net.UnixConn)
}
