package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sango/internal/certs"
	"sango/internal/certs/certstest"
	"sango/internal/san"
)

func readConfig(t *testing.T, text string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sango.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := ReadConfig(path)
	return c, err
}

const minimal = "name: gw1\ndir: d\nportals:\n  - listen: 127.0.0.1:3260\n"

// Every setting of the engine reaches it, and what is left out is its default.
func TestConfigReachesTheEngine(t *testing.T) {
	c, err := readConfig(t, minimal+`
limits:
  connections: 100
  sessions_per_host: 3
  logins: 50
  logins_per_address: 5
  memory: 256M
  host_memory: 128M
  connection_memory: 1M
iscsi:
  nop_interval: 500ms
  nop_timeout: 3s
  max_age: 2s
  login_timeout: 30s
  drain_time: 2s
  window: 64
  max_recv_data_segment: 64K
  first_burst: 32K
  max_burst: 512K
  outstanding_r2t: 2
  immediate_data: false
  initial_r2t: true
`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.iscsi().Complete()
	if err != nil {
		t.Fatal(err)
	}
	got.Logger = nil
	want := got // what the file does not set
	want.Connections, want.SessionsPerHost, want.Logins, want.LoginsPerAddress = 100, 3, 50, 5
	want.Memory, want.HostMemory, want.ConnectionMemory = 256<<20, 128<<20, 1<<20
	want.NopInterval, want.NopTimeout, want.MaxAge = 500*time.Millisecond, 3*time.Second, 2*time.Second
	want.LoginTimeout, want.DrainTime = 30*time.Second, 2*time.Second
	want.Window, want.OutstandingR2T, want.NoImmediateData, want.InitialR2T = 64, 2, true, true
	want.MaxRecvDataSegment, want.FirstBurst, want.MaxBurst = 64<<10, 32<<10, 512<<10
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the engine gets\n%+v, want\n%+v", got, want)
	}
	if c, err = readConfig(t, minimal); err != nil {
		t.Fatal(err)
	}
	if got, err = c.iscsi().Complete(); err != nil || got.NopInterval+got.NopTimeout != 4500*time.Millisecond || got.NoImmediateData {
		t.Errorf("defaults %+v, %v", got, err)
	}
}

// A certificate that others would refuse is refused at the start.
func TestCertificateOfConfig(t *testing.T) {
	a := certstest.New(t)
	text := func(f certs.Files) string {
		return minimal + "cluster:\n  peer: 127.0.0.1:2380\n  ca: " + f.CA + "\n  cert: " + f.Cert + "\n  key: " + f.Key + "\n"
	}
	if _, err := readConfig(t, text(a.Issue(t, "good", certstest.Of(nil, "127.0.0.1")))); err != nil {
		t.Error(err)
	}
	server := certstest.Of(nil, "127.0.0.1")
	server.ExtKeyUsage = server.ExtKeyUsage[:1]
	for word, f := range map[string]certs.Files{
		"clientAuth":                        a.Issue(t, "server", server),
		"other members look for 127.0.0.1 ": a.Issue(t, "name", certstest.Of([]string{"gw1"})),
	} {
		if _, err := readConfig(t, text(f)); !errors.Is(err, san.ErrInvalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("%v, want one about %s", err, word)
		}
	}
	if _, err := readConfig(t, text(a.Issue(t, "member", certstest.Of(nil, "127.0.0.1")))+"relay:\n  listen: 127.0.0.2:3262\n"); !errors.Is(err, san.ErrInvalid) || !strings.Contains(err.Error(), "other gateways look for 127.0.0.2 or gw1") {
		t.Errorf("a relay at another address: %v", err)
	}
}

// A portal that is written as text alone is told in words of the file.
func TestPortalAsText(t *testing.T) {
	if _, err := readConfig(t, "name: gw1\ndir: d\nportals: [\"127.0.0.1:3260\"]\n"); !errors.Is(err, san.ErrInvalid) || !strings.Contains(err.Error(), "write a portal as {listen: IP:PORT}") {
		t.Error(err)
	}
}

// What would break a promise to hosts, or cannot be, is refused with the name
// of the setting.
func TestConfigRefused(t *testing.T) {
	for text, word := range map[string]string{
		"iscsi:\n  nop_interval: 1s\n  nop_timeout: 5s\n":                      "3s to 5s",
		"iscsi:\n  nop_interval: 100ms\n  nop_timeout: 1s\n":                   "3s to 5s",
		"iscsi:\n  max_age: 1h\n":                                              "max_age",
		"iscsi:\n  login_timeout: soon\n":                                      "login_timeout",
		"iscsi:\n  drain_time: 20s\n":                                          "drain_time",
		"iscsi:\n  window: 100000\n":                                           "window",
		"iscsi:\n  first_burst: 4M\n":                                          "FirstBurstLength",
		"iscsi:\n  max_recv_data_segment: 1G\n":                                "max_recv_data_segment",
		"iscsi:\n  nop: 1s\n":                                                  "unknown setting in iscsi: nop;",
		"cluster:\n  peer: 127.0.0.1:2380\nrelay:\n  listen: 127.0.0.1:3260\n": "relay: listen 127.0.0.1:3260 needs the same port as a portal",
		"cluster:\n  peer: 127.0.0.1:2380\nrelay:\n  listen: 127.0.0.1:2380\n": "needs the same port",
		"cluster: gw1\n":                                                       "cluster: write it with settings",
		"nmae: gw2\n":                                                          "unknown setting: nmae;",
		"limits:\n  logins: -1\n":                                              "negative",
		"limits:\n  host_memory: 1M\n":                                         "memory of a host",
		"limits:\n  memory: much\n":                                            "much",
	} {
		if _, err := readConfig(t, minimal+text); !errors.Is(err, san.ErrInvalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, want one about %s", text, err, word)
		}
	}
}
