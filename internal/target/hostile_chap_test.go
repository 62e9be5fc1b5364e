package target

import (
	"errors"
	"strings"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
	"sango/internal/san"
)

// Nobody gets in without the secret, by whatever order or trick; whoever has
// it does, meanwhile.
func TestHostileCHAP(t *testing.T) {
	account := san.CHAP{User: "0x41", Secret: "secret-of-the-host", MutualUser: "disk", MutualSecret: "secret-of-the-disk"}
	s := besiege(t, func(c *Config, d *directory) { c.DiscoveryCHAP, d.accounts = true, []san.CHAP{account} })

	// challenge goes as far as the server's challenge.
	challenge := func(c *iscsitest.Conn, r iscsi.LoginRequest, names string) (id uint8, b []byte) {
		t.Helper()
		if _, _, err := c.LoginRaw(r, []byte(names+"AuthMethod=CHAP,None\x00")); err != nil {
			t.Fatal(err)
		}
		_, text, err := c.LoginRaw(r, []byte("CHAP_A=7\x00"))
		if err != nil {
			t.Fatal(err)
		}
		keys, err := iscsi.ParseText(text)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := keys.Get(iscsi.KeyCHAPIdentifier)
		n, err := iscsi.ParseNumber(v)
		if err != nil {
			t.Fatal(err)
		}
		v, _ = keys.Get(iscsi.KeyCHAPChallenge)
		if b, err = iscsi.ParseBinary(v, iscsi.MaxChallenge); err != nil {
			t.Fatal(err)
		}
		return uint8(n), b
	}
	response := func(id uint8, secret string, b []byte) string {
		return "CHAP_R=" + iscsi.FormatBinary(iscsi.CHAPResponse(iscsi.CHAPSHA256, id, secret, b)) + "\x00"
	}
	discovery := "InitiatorName=" + hostName + "\x00SessionType=Discovery\x00"
	zeros := "CHAP_R=0x" + strings.Repeat("00", 32) + "\x00"
	for name, proof := range map[string]func(id uint8, b []byte) string{
		"wrong secret":     func(id uint8, b []byte) string { return "CHAP_N=0x41\x00" + response(id, "secret-of-the-disk", b) },
		"no secret":        func(id uint8, b []byte) string { return "CHAP_N=0x41\x00" + response(id, "", b) },
		"zeros":            func(uint8, []byte) string { return "CHAP_N=0x41\x00" + zeros },
		"name as a number": func(id uint8, b []byte) string { return "CHAP_N=A\x00" + response(id, account.Secret, b) },
		"mutual user":      func(id uint8, b []byte) string { return "CHAP_N=disk\x00" + response(id, account.MutualSecret, b) },
		"wrong identifier": func(id uint8, b []byte) string { return "CHAP_N=0x41\x00" + response(id+1, account.Secret, b) },
		"nothing":          func(uint8, []byte) string { return "CHAP_N=0x41\x00CHAP_R=\x00" },
		"challenge reflected": func(id uint8, b []byte) string {
			return "CHAP_N=0x41\x00" + response(id, account.Secret, b) + "CHAP_I=1\x00CHAP_C=" + iscsi.FormatBinary(b) + "\x00"
		},
	} {
		for _, names := range []string{hostileNames, discovery} {
			c := s.dial()
			r := iscsi.LoginRequest{Transit: true, Current: iscsi.Security, Next: iscsi.FullFeature, ISID: isid(9), ITT: 1}
			id, b := challenge(c, r, names)
			_, _, err := c.LoginRaw(r, []byte(proof(id, b)))
			var e *iscsitest.LoginError
			if !errors.As(err, &e) || e.Status != iscsi.LoginAuthFailed {
				t.Errorf("%s: %v", name, err)
			}
			wantClosed(t, c)
		}
	}

	// A challenge made for one connection, passed on through another.
	victim, thief := s.dial(), s.dial()
	r := iscsi.LoginRequest{Transit: true, Current: iscsi.Security, Next: iscsi.FullFeature, ISID: isid(9), ITT: 1}
	_, stolen := challenge(victim, r, hostileNames)
	id, b := challenge(thief, r, hostileNames)
	_, _, err := thief.LoginRaw(r, []byte("CHAP_N=0x41\x00"+response(id, account.Secret, b)+"CHAP_I=1\x00CHAP_C="+iscsi.FormatBinary(stolen)+"\x00"))
	var e *iscsitest.LoginError
	if !errors.As(err, &e) || e.Status != iscsi.LoginAuthFailed {
		t.Errorf("a challenge of another connection: %v", err)
	}
	wantClosed(t, thief)
	victim.Close()

	// Around the exchange.
	for _, a := range []struct {
		from, to iscsi.Stage
		text     string
	}{
		{iscsi.Operational, iscsi.FullFeature, hostileNames},
		{iscsi.Operational, iscsi.FullFeature, discovery},
		{iscsi.Security, iscsi.FullFeature, hostileNames},
		{iscsi.Security, iscsi.FullFeature, hostileNames + "AuthMethod=None\x00"},
		{iscsi.Security, iscsi.Operational, hostileNames + "AuthMethod=KRB5,None\x00"},
	} {
		c := s.dial()
		_, _, err := c.LoginRaw(iscsi.LoginRequest{Transit: true, Current: a.from, Next: a.to, ISID: isid(9), ITT: 1}, []byte(a.text))
		var e *iscsitest.LoginError
		if !errors.As(err, &e) || e.Status != iscsi.LoginAuthFailed {
			t.Errorf("%v to %v with %q: %v", a.from, a.to, a.text, err)
		}
		wantClosed(t, c)
	}

	for _, algorithm := range []string{"5", "6", "7", "8", "99,8,5"} {
		c := s.dial()
		l := attacker("DataDigest", "CRC32C")
		l.Account, l.Algorithms = &account, algorithm
		if err := c.Login(l); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ready(lun1); err != nil {
			t.Fatal(err)
		}
		usable(t, c)
		if err := c.Logout(); err != nil {
			t.Error(err)
		}
	}
	s.settle(1)
	s.good.progress()
}
