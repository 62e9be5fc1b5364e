package gateway

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"sango/internal/certs"
	"sango/internal/certs/certstest"
	"sango/internal/relay"
)

// signed returns what a gateway shows, with a certificate of its own authority.
func signed(t *testing.T, name string) (shown, bare *certs.Kept) {
	t.Helper()
	a := certstest.New(t)
	load := func(f certs.Files) *certs.Kept {
		k, err := certs.Load(f, slog.New(slog.NewTextHandler(t.Output(), nil)))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return load(a.Issue(t, name, certstest.Of([]string{name}))), load(certs.Files{CA: a.CA()})
}

// The management among gateways is for those with a certificate of their
// authority.
func TestManagementAmongGateways(t *testing.T) {
	n := node(t, subdir(t, "d"))
	ours, bare := signed(t, "gw1")
	theirs, _ := signed(t, "gw1")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- n.api.ServePeers(tls.NewListener(l, relay.ServerTLS(ours))) }()
	call := func(c *certs.Kept, hop string) (int, error) {
		h := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			if c == nil {
				return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
			}
			return (&tls.Dialer{Config: relay.ClientTLS(c, "gw1", l.Addr().String())}).DialContext(ctx, "tcp", l.Addr().String())
		}}}
		defer h.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gw1/sango.v1.VolumeService/ListVolumes", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if hop != "" {
			r.Header.Set("Sango-Passed-On", hop)
		}
		a, err := h.Do(r)
		if err != nil {
			return 0, err
		}
		return a.StatusCode, a.Body.Close()
	}
	if status, err := call(ours, "gw2"); err != nil || status != http.StatusOK {
		t.Errorf("a gateway: %d, %v", status, err)
	}
	if status, err := call(ours, ""); err != nil || status != http.StatusForbidden {
		t.Errorf("what no gateway passed on: %d, %v", status, err)
	}
	if status, err := call(theirs, "gw2"); err == nil {
		t.Errorf("one of another authority: %d", status)
	}
	if status, err := call(bare, "gw2"); err == nil {
		t.Errorf("one without a certificate: %d", status)
	}
	if status, err := call(nil, "gw2"); err == nil && status == http.StatusOK {
		t.Errorf("one that speaks in clear: %d", status)
	}
	n.api.Shutdown(t.Context())
	if err := <-served; err != nil {
		t.Error(err)
	}
}
