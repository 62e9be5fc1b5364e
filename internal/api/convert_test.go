package api

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/san"
)

func TestSecretsNeverLeaveTheNode(t *testing.T) {
	auth := []san.CHAP{{User: "u", Secret: "hunter2hunter2", MutualUser: "t", MutualSecret: "hunter3hunter3"}}
	host := hostMessage(&san.Host{Name: "h", Auth: auth}, nil)
	target := targetMessage(&san.Target{Name: "t", Auth: auth}, nil)
	b := protojson.Format(host) + protojson.Format(target)
	if strings.Contains(b, "hunter") || strings.Contains(b, "aHVud") { // base64 of the same
		t.Errorf("secrets are sent: %s", b)
	}
	if len(host.Accounts) != 1 || host.Accounts[0].MutualUser != "t" {
		t.Errorf("accounts: %v", host.Accounts)
	}
}

func TestHostFromMessage(t *testing.T) {
	h, err := messageHost(&v1.Host{Name: "h", Iqn: "iqn.2026-11.A.B:C", Allowed: []string{"10.1.2.3/8", "fd00::1", "192.0.2.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if h.IQN != "iqn.2026-11.a.b:c" {
		t.Errorf("iqn = %s", h.IQN)
	}
	for i, want := range []string{"10.0.0.0/8", "fd00::1/128", "192.0.2.1/32"} {
		if h.Allowed[i].String() != want {
			t.Errorf("allowed %d = %s, want %s", i, h.Allowed[i], want)
		}
	}
	if _, err := messageHost(&v1.Host{Allowed: []string{"10.0.0.0/33"}}); !errors.Is(err, san.ErrInvalid) {
		t.Errorf("a bad range: %v", err)
	}
}
