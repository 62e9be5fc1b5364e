package gateway

import (
	"log/slog"
	"testing"

	"sango/internal/iscsi/iscsitest"
	"sango/internal/meta"
	"sango/internal/san"
)

// discover tries a discovery session.
func discover(t *testing.T, n *Node, initiator string, account *san.CHAP) error {
	t.Helper()
	c, err := iscsitest.Dial(n.Portals()[0].Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Reset)
	return c.Login(iscsitest.Login{Initiator: initiator, Discovery: true, Account: account})
}

// Who offers CHAP in discovery proves its name with the accounts that it logs
// in with; with discovery_chap nobody discovers anything without.
func TestDiscoveryAuthentication(t *testing.T) {
	const stranger = "iqn.2026-11.com.example:stranger"
	own := san.CHAP{User: "web", Secret: "0123456789-host"}
	open := san.CHAP{User: "any", Secret: "0123456789-open"}
	wrong := san.CHAP{User: "web", Secret: "0123456789-none"}
	for _, demanded := range []bool{false, true} {
		cfg := Config{
			Name: "gw1", Dir: t.TempDir(), Portals: []Portal{{Name: "a", Listen: "127.0.0.1:0"}},
			Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		}
		cfg.ISCSI.DiscoveryCHAP = demanded
		n, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stop(t, n) })
		n.Serve()
		change(t, n, func(tx *meta.Tx) error {
			return tx.CreateHost(&san.Host{Name: "web", IQN: webIQN, Auth: []san.CHAP{own}})
		})
		if err := discover(t, n, stranger, nil); (err != nil) != demanded {
			t.Errorf("demanded %v: a stranger without targets: %v", demanded, err)
		}
		change(t, n, func(tx *meta.Tx) error {
			return tx.CreateTarget(&san.Target{Name: demoIQN, Open: true, Auth: []san.CHAP{open}})
		})
		for _, c := range []struct {
			what, initiator string
			account         *san.CHAP
			good            bool
		}{
			{"the host with its account", webIQN, &own, true},
			{"the host with a wrong secret", webIQN, &wrong, false},
			{"the host with the account of a target", webIQN, &open, false},
			{"the host without CHAP", webIQN, nil, !demanded},
			{"a stranger with the account of an open target", stranger, &open, true},
			{"a stranger with the account of a host", stranger, &own, false},
			{"a stranger without CHAP", stranger, nil, !demanded},
		} {
			if err := discover(t, n, c.initiator, c.account); (err == nil) != c.good {
				t.Errorf("demanded %v: %s: %v", demanded, c.what, err)
			}
		}
	}
}
