package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// program starts sango as a process of its own, which gets SIGTERM when the
// test ends. prepare is called before.
func program(t *testing.T, prepare func(*exec.Cmd), args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Args = append([]string{"sango"}, args...) // see TestMain
	if prepare != nil {
		prepare(c)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
	return c
}

// demo starts a demo and returns its portal.
func demo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	program(t, nil, "demo", "--dir", filepath.Join(dir, "d"), "--portals", "127.0.0.1:0", "--volume", "a=16M,driver=mem", "--ready-file", ready)
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(ready); err == nil {
			var v struct{ Portals []string }
			if err := json.Unmarshal(b, &v); err != nil || len(v.Portals) != 1 {
				t.Fatalf("%s: %v", b, err)
			}
			return v.Portals[0]
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the demo does not become ready")
		}
	}
}

// mute is a proxy to a portal that can keep the answers to itself.
type mute struct {
	addr   string
	silent atomic.Bool
	logout chan struct{} // gets a token for a Logout Request
}

func newMute(t *testing.T, portal string) *mute {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	m := &mute{addr: l.Addr().String(), logout: make(chan struct{}, 16)}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", portal)
			if err != nil {
				near.Close()
				continue
			}
			go m.pass(near, far, func(b []byte) bool {
				if b[0]&0x3f == 0x06 { // the opcode, where a PDU begins (RFC 7143 §11.2.1.2)
					m.logout <- struct{}{}
				}
				return true
			})
			go m.pass(far, near, func([]byte) bool { return !m.silent.Load() })
		}
	}()
	return m
}

// pass copies from one to the other what says may pass.
func (m *mute) pass(from, to net.Conn, may func([]byte) bool) {
	defer to.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && may(b[:n]) {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// A second signal ends a benchmark that waits for the answer to its logout.
func TestSecondInterruptEndsABenchmarkThatCloses(t *testing.T) {
	m := newMute(t, demo(t))
	// One request, and the next one not within the time of the test: the
	// connection is quiet when the run is interrupted.
	var out io.Reader
	c := program(t, func(c *exec.Cmd) {
		var err error
		if out, err = c.StderrPipe(); err != nil {
			t.Fatal(err)
		}
	}, "bench", "iscsi://"+m.addr+"/iqn.2026-11.io.sango:demo/0", "--raw", "--depth", "1", "--rate", "0.001", "--time", "1h",
		"--interval", "50ms", "--progress")
	r := bufio.NewReader(out)
	for ticks := 0; ticks < 2; ticks++ {
		if line, err := r.ReadString('\n'); err != nil {
			t.Fatalf("it ends with %q: %v", line, err)
		}
	}
	m.silent.Store(true)
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-m.logout
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(r)
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("it ended with %v", err)
	}
	if !strings.Contains(string(rest), "interrupted again") {
		t.Errorf("it said %q", rest)
	}
}
