package gateway

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sango/internal/api"
	"sango/internal/certs"
	"sango/internal/certs/certstest"
	"sango/internal/meta"
)

// peerOf serves what another member does at its peer address, and returns that.
func peerOf(t *testing.T, f certs.Files) string {
	t.Helper()
	k, err := certs.Load(f, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ //nolint:gosec // it lives as long as the test
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]")) }),
		ErrorLog: slog.NewLogLogger(slog.NewTextHandler(t.Output(), nil), slog.LevelDebug),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(tls.NewListener(l, k.Server(&tls.Config{MinVersion: tls.VersionTLS12})))
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return l.Addr().String()
}

// A member that accepts connections, and not the certificates, does not answer.
func TestDoctorShakesHands(t *testing.T) {
	a, b := certstest.New(t), certstest.New(t)
	of := func(a *certstest.Authority, name string) certs.Files {
		return a.Issue(t, name, certstest.Of(nil, "127.0.0.1"))
	}
	trusting := of(a, "half") // is trusted, and does not trust
	trusting.CA = b.CA()
	cfg := &Config{Meta: meta.Options{Member: &meta.Member{
		Name: "gw1", Peer: "127.0.0.1:1", TLS: meta.TLS(of(a, "gw1")),
		Members: []string{"gw1=127.0.0.1:1", "gw2=" + peerOf(t, of(a, "gw2")), "gw3=" + peerOf(t, of(b, "gw3")), "gw4=" + peerOf(t, trusting)},
	}}}
	all := ExamineCluster(t.Context(), cfg)
	if f := find(t, all, "metadata member gw2"); f.State != FindingOK {
		t.Errorf("%+v", f)
	}
	for check, why := range map[string]string{"metadata member gw3": "unknown authority", "metadata member gw4": "tls: "} {
		if f := find(t, all, check); f.State != FindingFailed || !strings.Contains(f.Detail, why) || f.Advice == "" {
			t.Errorf("%+v, want %q", f, why)
		}
	}
}

// What is about to expire is told, by status and by doctor.
func TestExpiryIsTold(t *testing.T) {
	a := certstest.New(t)
	soon := certstest.Of(nil, "127.0.0.1")
	soon.NotAfter = time.Now().Add(10*24*time.Hour + time.Hour)
	f := a.Issue(t, "gw1", soon)
	cfg := &Config{Cluster: Cluster{TLS: meta.TLS(f)}, Meta: meta.Options{Member: &meta.Member{Name: "gw1", TLS: meta.TLS(f)}}}
	if f := find(t, ExamineCluster(t.Context(), cfg), "certificates"); f.State != FindingWarning || !strings.Contains(f.Detail, "gw1.pem expires in 10 days") || f.Advice == "" {
		t.Errorf("%+v", f)
	}
	var st api.Status
	addExpiry(&st, cfg, time.Now())
	if len(st.Problems) != 1 || !strings.Contains(st.Problems[0], "gw1.pem expires in 10 days") {
		t.Errorf("%q", st.Problems)
	}
	st.Problems = nil
	addExpiry(&st, cfg, soon.NotAfter.Add(time.Hour))
	if len(st.Problems) != 1 || !strings.Contains(st.Problems[0], "expired at") {
		t.Errorf("%q", st.Problems)
	}
	a.Issue(t, "gw1", certstest.Of(nil, "127.0.0.1"))
	if f := find(t, ExamineCluster(t.Context(), cfg), "certificates"); f.State != FindingOK {
		t.Errorf("%+v", f)
	}
	st.Problems = nil
	if addExpiry(&st, cfg, time.Now()); len(st.Problems) != 0 {
		t.Errorf("%q", st.Problems)
	}
}
