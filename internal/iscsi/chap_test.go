package iscsi

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"sango/internal/san"
)

var chapVectors = map[CHAPAlgorithm]string{
	CHAPMD5:     "c7145ea507a9f67b85d43ab2ac5476f6",
	CHAPSHA1:    "8ab460d233fef1065c05e14f62dc12de7229561d",
	CHAPSHA256:  "3aa1f66502493fd43876216656f818bb1e814ff9f51d82a5ccc6535862357bb2",
	CHAPSHA3256: "ffaf5b24ab050ae0db1be5221e94961e1708754403fb51426c2356efbaa9f991",
}

// The vectors were made with another implementation of the hash functions,
// over 27h, "secret-of-12" and 00h to 0fh.
func TestCHAPResponse(t *testing.T) {
	challenge := make([]byte, 16)
	for i := range challenge {
		challenge[i] = byte(i)
	}
	for a, want := range chapVectors {
		got := CHAPResponse(a, 0x27, "secret-of-12", challenge)
		if hex.EncodeToString(got) != want {
			t.Errorf("%v: %x, want %s", a, got, want)
		}
		if !checkCHAP(a, 0x27, "secret-of-12", challenge, got) || checkCHAP(a, 0x28, "secret-of-12", challenge, got) ||
			checkCHAP(a, 0x27, "secret-of-13", challenge, got) || checkCHAP(a, 0x27, "secret-of-12", challenge, nil) {
			t.Errorf("%v: wrongly checked", a)
		}
	}
	if CHAPResponse(9, 0, "s", challenge) != nil || checkCHAP(9, 0, "s", challenge, nil) {
		t.Error("an unknown algorithm gave a response")
	}
}

func TestChooseCHAP(t *testing.T) {
	for _, c := range []struct {
		offer string
		want  CHAPAlgorithm
	}{
		{"5", CHAPMD5},
		{"8,7,6,5", CHAPSHA3256},
		{"5,8", CHAPMD5},
		{"6,5", CHAPSHA1},
		{"7", CHAPSHA256},
		{"0x7", CHAPSHA256},
		{"99,7", CHAPSHA256},
		{"x,,7", CHAPSHA256},
		{"", 0},
		{"9", 0},
		{"261", 0},
		{"MD5", 0},
	} {
		got, ok := chooseCHAP(c.offer, AllCHAPAlgorithms())
		if got != c.want || ok != (c.want != 0) {
			t.Errorf("%q: %v, %v", c.offer, got, ok)
		}
	}
	if got, ok := chooseCHAP("5,7", []CHAPAlgorithm{CHAPSHA256}); !ok || got != CHAPSHA256 {
		t.Errorf("an algorithm that is not accepted was chosen: %v", got)
	}
}

func TestCHAPAlgorithmNames(t *testing.T) {
	for _, a := range AllCHAPAlgorithms() {
		if strings.HasPrefix(a.String(), "CHAP") {
			t.Errorf("algorithm %d has no name", a)
		}
	}
	if got := CHAPAlgorithm(9).String(); got != "CHAP algorithm 9" {
		t.Error(got)
	}
}

func TestChallenger(t *testing.T) {
	c := NewChallenger()
	a, _ := c.Challenge()
	b, _ := c.Challenge()
	if bytes.Equal(a, b) {
		t.Fatal("the same challenge twice")
	}
	if len(a) != challengeLen || !c.Own(a) || !c.Own(b) {
		t.Error("its own challenge is not known again")
	}
	if NewChallenger().Own(a) {
		t.Error("somebody else's challenge is known")
	}
	for i := range a {
		x := bytes.Clone(a)
		x[i] ^= 1
		if c.Own(x) {
			t.Errorf("changed at byte %d and still known", i)
		}
		if c.Own(a[:i]) {
			t.Errorf("cut to %d bytes and still known", i)
		}
	}
}

var account = san.CHAP{User: "host", Secret: "secret-of-12", MutualUser: "disk", MutualSecret: "other-secret"}

// begin goes as far as the target's challenge.
func (c *client) begin(algorithms string) (a CHAPAlgorithm, id uint8, challenge []byte) {
	c.t.Helper()
	c.want("0", names+"AuthMethod=CHAP,None", "", "TargetPortalGroupTag=3 AuthMethod=CHAP")
	resp, text := c.send("0", "CHAP_A="+algorithms)
	c.good(resp, "")
	keys := pairs(text)
	get := func(key string) uint64 {
		v, _ := keys.Get(key)
		n, err := ParseNumber(v)
		if err != nil || n > 255 {
			c.t.Fatalf("%s=%s", key, v)
		}
		return n
	}
	v, _ := keys.Get("CHAP_C")
	challenge, err := ParseBinary(v, MaxChallenge)
	if err != nil {
		c.t.Fatal(err)
	}
	return CHAPAlgorithm(get("CHAP_A")), uint8(get("CHAP_I")), challenge
}

func answer(a CHAPAlgorithm, id uint8, challenge []byte) string {
	return "CHAP_N=host CHAP_R=" + FormatBinary(CHAPResponse(a, id, account.Secret, challenge)) + " "
}

func TestCHAPOneWay(t *testing.T) {
	for _, algorithm := range []string{"5", "6", "7", "8"} {
		c := newClient(t, account)
		a, id, challenge := c.begin(algorithm)
		c.want("01", answer(a, id, challenge), "1", "")
		c.want("13", "", "3", "MaxRecvDataSegmentLength=262144")
		if c.l.User() != "host" {
			t.Errorf("user %q", c.l.User())
		}
	}
}

func TestCHAPMutual(t *testing.T) {
	for a := range chapVectors {
		c := newClient(t, account)
		_, id, challenge := c.begin(FormatBinary([]byte{byte(a)})) // also as hex
		mine := bytes.Repeat([]byte{0x5a}, 24)
		c.want("03", answer(a, id, challenge)+"CHAP_I=200 CHAP_C="+FormatBinary(mine), "3",
			"CHAP_N=disk CHAP_R="+FormatBinary(CHAPResponse(a, 200, "other-secret", mine))+" MaxRecvDataSegmentLength=262144")
	}
}

// The stage is not left before the exchange is over, whatever T says.
func TestTransitionWaitsForCHAP(t *testing.T) {
	c := newClient(t, account)
	c.want("01", names+"AuthMethod=CHAP", "", "TargetPortalGroupTag=3 AuthMethod=CHAP")
	resp, _ := c.send("01", "CHAP_A=5")
	c.good(resp, "")
	c.want("01", "", "", "")
	c.refuse("01", "CHAP_N=host CHAP_R=0x00", LoginAuthFailed)
}

func TestCHAPIsPreferredWhereItIsRequired(t *testing.T) {
	c := newClient(t, account)
	c.want("01", names+"AuthMethod=None,CHAP", "", "TargetPortalGroupTag=3 AuthMethod=CHAP")
}

// Names that look like numbers stay plain text.
func TestCHAPNameLooksLikeANumber(t *testing.T) {
	for _, user := range []string{"0x1234", "0b1234", "0xzz", "0b", "1234"} {
		c := newClient(t, san.CHAP{User: "someone", Secret: "a-different-one"}, san.CHAP{User: user, Secret: account.Secret, MutualUser: "0xff", MutualSecret: "other-secret"})
		a, id, challenge := c.begin("7")
		mine := []byte{1}
		c.want("01", strings.Replace(answer(a, id, challenge), "=host", "="+user, 1)+"CHAP_I=0 CHAP_C=0x01", "1",
			"CHAP_N=0xff CHAP_R="+FormatBinary(CHAPResponse(a, 0, "other-secret", mine)))
		if c.l.User() != user {
			t.Errorf("user %q", c.l.User())
		}
	}
}

func TestCHAPFailures(t *testing.T) {
	for name, make := range map[string]func(right string, id uint8, challenge []byte) string{
		"wrong user":         func(right string, _ uint8, _ []byte) string { return strings.Replace(right, "host", "Host", 1) },
		"wrong response":     func(string, uint8, []byte) string { return "CHAP_N=host CHAP_R=0x" + strings.Repeat("00", 32) },
		"short response":     func(string, uint8, []byte) string { return "CHAP_N=host CHAP_R=0x00" },
		"long response":      func(string, uint8, []byte) string { return "CHAP_N=host CHAP_R=0x" + strings.Repeat("00", 33) },
		"no binary":          func(string, uint8, []byte) string { return "CHAP_N=host CHAP_R=7" },
		"name only":          func(string, uint8, []byte) string { return "CHAP_N=host" },
		"response only":      func(right string, _ uint8, _ []byte) string { return strings.Fields(right)[1] },
		"identifier only":    func(right string, _ uint8, _ []byte) string { return right + "CHAP_I=1" },
		"challenge only":     func(right string, _ uint8, _ []byte) string { return right + "CHAP_C=0x01" },
		"identifier too big": func(right string, _ uint8, _ []byte) string { return right + "CHAP_I=256 CHAP_C=0x01" },
		"challenge too long": func(right string, _ uint8, _ []byte) string {
			return right + "CHAP_I=1 CHAP_C=0x" + strings.Repeat("00", MaxChallenge+1)
		},
		"empty challenge":                    func(right string, _ uint8, _ []byte) string { return right + "CHAP_I=1 CHAP_C=0x" },
		"challenge reflected":                func(right string, _ uint8, c []byte) string { return right + "CHAP_I=1 CHAP_C=" + FormatBinary(c) },
		"response to a different identifier": func(_ string, id uint8, c []byte) string { return answer(CHAPSHA256, id+1, c) },
		"response by another algorithm":      func(_ string, id uint8, c []byte) string { return answer(CHAPSHA3256, id, c) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, account)
			a, id, challenge := c.begin("7")
			c.refuse("01", make(answer(a, id, challenge), id, challenge), LoginAuthFailed)
		})
	}
}

// A challenge made for another connection of the same target is a reflection
// as well.
func TestCHAPReflectionAcrossConnections(t *testing.T) {
	one, two := newClient(t, account), newClient(t, account)
	two.l.cfg.Challenger = one.l.cfg.Challenger
	_, _, stolen := one.begin("7")
	a, id, challenge := two.begin("7")
	two.refuse("01", answer(a, id, challenge)+"CHAP_I=1 CHAP_C="+FormatBinary(stolen), LoginAuthFailed)
}

func TestCHAPMutualWithoutSecret(t *testing.T) {
	for name, a := range map[string]san.CHAP{
		"none": {User: "host", Secret: account.Secret},
		"same": {User: "host", Secret: account.Secret, MutualUser: "disk", MutualSecret: account.Secret},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, a)
			alg, id, challenge := c.begin("7")
			c.refuse("01", answer(alg, id, challenge)+"CHAP_I=1 CHAP_C=0x01", LoginAuthFailed)
		})
	}
}

// An account without a secret lets nobody in.
func TestCHAPEmptySecret(t *testing.T) {
	c := newClient(t, san.CHAP{User: "host"})
	a, id, challenge := c.begin("7")
	c.refuse("01", "CHAP_N=host CHAP_R="+FormatBinary(CHAPResponse(a, id, "", challenge)), LoginAuthFailed)
}

func TestCHAPOrder(t *testing.T) {
	for name, texts := range map[string][]string{
		"security stage skipped":  {"AuthMethod="},
		"None where CHAP is due":  {"AuthMethod=None"},
		"no CHAP_A":               {"AuthMethod=CHAP", "CHAP_N=host CHAP_R=0x00"},
		"CHAP_A with more":        {"AuthMethod=CHAP", "CHAP_A=7 CHAP_N=host"},
		"no known algorithm":      {"AuthMethod=CHAP", "CHAP_A=1,2"},
		"nothing but transitions": {"HeaderDigest"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, account)
			switch name {
			case "security stage skipped":
				c.refuse("13", names, LoginAuthFailed)
				return
			case "nothing but transitions":
				c.refuse("01", names, LoginAuthFailed)
				return
			}
			for i, text := range texts {
				if i == 0 {
					text = names + text
				}
				if i == len(texts)-1 {
					c.refuse("01", text, LoginAuthFailed)
					return
				}
				resp, _ := c.send("01", text)
				c.good(resp, "")
			}
		})
	}
}

// Each key once: a second CHAP_A can't restart the exchange, a second
// response can't guess again.
func TestCHAPKeysOnce(t *testing.T) {
	c := newClient(t, account)
	c.begin("7")
	c.refuse("01", "CHAP_A=7", LoginInitiatorError)

	c = newClient(t, account)
	a, id, challenge := c.begin("7")
	c.want("0", answer(a, id, challenge), "", "")
	c.refuse("01", answer(a, id, challenge), LoginInitiatorError)

	c = newClient(t, account)
	a, id, challenge = c.begin("7")
	c.want("0", answer(a, id, challenge), "", "")
	c.refuse("01", "CHAP_I=1 CHAP_C=0x01", LoginAuthFailed)
}
