package iscsi

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sango/internal/san"
)

const (
	initiatorName = "iqn.2026-11.test:host"
	targetName    = "iqn.2026-11.test:disk"
	names         = "InitiatorName=" + initiatorName + " TargetName=" + targetName + " "
)

// client drives a Login the way an initiator would.
type client struct {
	t   *testing.T
	l   *Login
	ids []Identity
	req LoginRequest
}

func newClient(t *testing.T, accounts ...san.CHAP) *client {
	c := &client{t: t, req: LoginRequest{ISID: san.ISID{0x80, 1, 2, 3, 4, 5}, ITT: 7, CID: 1, CmdSN: 100}}
	c.l = NewLogin(LoginConfig{TPG: 3, Limits: testLimits(), Challenger: NewChallenger(), Identify: func(id Identity) ([]san.CHAP, LoginStatus) {
		c.ids = append(c.ids, id)
		switch {
		case id.Target == "iqn.none":
			return nil, LoginNotFound
		case id.Target == "iqn.other":
			return nil, LoginForbidden
		case id.TSIH != 0:
			return nil, LoginNoSession
		}
		return accounts, LoginSuccess
	}})
	return c
}

// send sends one request; flags are "T" and "C", stages "01" for Security to
// Operational.
func (c *client) send(stages, text string) (LoginResponse, string) {
	c.t.Helper()
	return c.sendRaw(stages, pairs(text).Append(nil))
}

func (c *client) sendRaw(stages string, data []byte) (LoginResponse, string) {
	c.t.Helper()
	r := c.req
	r.Current = Stage(stages[0] - '0')
	if len(stages) > 1 && stages[1] == 'C' {
		r.Continue = true
	} else if len(stages) > 1 {
		r.Transit, r.Next = true, Stage(stages[1]-'0')
	}
	r.DataLen = len(data)
	resp, out := c.l.Step(r, data)
	if resp.DataLen != len(out) {
		c.t.Fatalf("DataLen %d with %d bytes", resp.DataLen, len(out))
	}
	var h BHS // what is sent must be readable
	resp.Put(&h)
	if again, err := ParseLoginResponse(&h); err != nil || again != resp {
		c.t.Fatalf("%+v, %v", again, err)
	}
	if resp.Continue {
		return resp, string(out)
	}
	keys, err := ParseText(out)
	if err != nil {
		return resp, string(out)
	}
	return resp, show(keys)
}

// want checks a good response: the stage change granted ("" none) and the text.
func (c *client) want(stages, text, granted, answer string) {
	c.t.Helper()
	resp, got := c.send(stages, text)
	c.good(resp, granted)
	if got != answer {
		c.t.Errorf("answered\n%s, want\n%s", got, answer)
	}
}

func (c *client) good(resp LoginResponse, granted string) {
	c.t.Helper()
	if resp.Status != LoginSuccess {
		c.t.Fatalf("refused: %v", c.l.Err())
	}
	got := ""
	if resp.Transit {
		got = fmt.Sprint(uint8(resp.Next))
	}
	if got != granted {
		c.t.Fatalf("granted a change to %q, want %q", got, granted)
	}
}

// refuse checks that the request ends the login with status.
func (c *client) refuse(stages, text string, status LoginStatus) {
	c.t.Helper()
	resp, got := c.send(stages, text)
	c.refused(resp, got, status)
}

func (c *client) refused(resp LoginResponse, text string, status LoginStatus) {
	c.t.Helper()
	if resp.Status != status || resp.Transit || resp.Continue || text != "" || c.l.Err() == nil || c.l.Done() {
		c.t.Fatalf("%v (%v), text %q, want %v", resp.Status, c.l.Err(), text, status)
	}
	if again, _ := c.send("13", ""); again.Status == LoginSuccess {
		c.t.Fatal("the login goes on after it was refused")
	}
}

func TestLoginWithoutSecurityStage(t *testing.T) {
	c := newClient(t)
	c.want("13", names+"SessionType=Normal HeaderDigest=None MaxRecvDataSegmentLength=65536", "3",
		"TargetPortalGroupTag=3 HeaderDigest=None MaxRecvDataSegmentLength=262144")
	if !c.l.Done() || c.l.Err() != nil {
		t.Fatalf("done %v, %v", c.l.Done(), c.l.Err())
	}
	p := c.l.Outcome()
	if p.InitiatorName != initiatorName || p.TargetName != targetName || p.Discovery || p.MaxSend != 65536 || p.MaxRecv != 262144 {
		t.Errorf("%+v", p)
	}
	if c.l.CmdSN() != 100 || c.l.StatSN() != 1 || c.l.User() != "" {
		t.Errorf("CmdSN %d, StatSN %d, user %q", c.l.CmdSN(), c.l.StatSN(), c.l.User())
	}
	want := Identity{Initiator: san.InitiatorPort{Name: initiatorName, ISID: c.req.ISID}, Target: targetName, CID: 1}
	if len(c.ids) != 1 || c.ids[0] != want || c.l.Identity() != want {
		t.Errorf("%+v", c.ids)
	}
}

func TestLoginInAllStages(t *testing.T) {
	c := newClient(t)
	c.want("01", names+"InitiatorAlias=box AuthMethod=CHAP,None", "1", "TargetPortalGroupTag=3 AuthMethod=None")
	c.want("1", "MaxBurstLength=65536", "", "MaxBurstLength=65536 MaxRecvDataSegmentLength=262144")
	c.want("13", "FirstBurstLength=65536", "3", "FirstBurstLength=65536")
	if p := c.l.Outcome(); !c.l.Done() || p.MaxBurstLength != 65536 || c.l.Identity().Alias != "box" {
		t.Errorf("%+v", p)
	}
}

func TestLoginFromSecurityToFullFeature(t *testing.T) {
	c := newClient(t)
	c.want("0", names, "", "TargetPortalGroupTag=3")
	c.want("03", "AuthMethod=None", "3", "AuthMethod=None MaxRecvDataSegmentLength=262144")
}

func TestLoginAlias(t *testing.T) {
	c := newClient(t)
	c.l.cfg.Alias = "big-disk"
	c.want("1", names, "", "TargetPortalGroupTag=3 TargetAlias=big-disk MaxRecvDataSegmentLength=262144")
	c.want("13", "TargetAlias=NotUnderstood", "3", "") // some initiators answer declarations
}

func TestDiscoveryLogin(t *testing.T) {
	c := newClient(t)
	c.want("13", "InitiatorName="+initiatorName+" SessionType=Discovery MaxBurstLength=512", "3",
		"MaxBurstLength=Irrelevant MaxRecvDataSegmentLength=262144")
	if !c.l.Outcome().Discovery || !c.l.Identity().Discovery {
		t.Error("not a discovery session")
	}
}

// A discovery session may use its accounts, and has to where that is
// configured; who has begun with CHAP has to end with it.
func TestDiscoveryCHAP(t *testing.T) {
	account := san.CHAP{User: "u", Secret: "0123456789abc"}
	const discovery = "InitiatorName=" + initiatorName + " SessionType=Discovery "
	newClient(t, account).want("13", discovery, "3", "MaxRecvDataSegmentLength=262144")
	newClient(t, account).want("01", discovery+"AuthMethod=None", "1", "AuthMethod=None")
	newClient(t, account).want("01", discovery+"AuthMethod=None,CHAP", "1", "AuthMethod=None")
	newClient(t, account).want("01", discovery+"AuthMethod=CHAP,None", "", "AuthMethod=CHAP")
	c := newClient(t, account)
	c.want("01", discovery+"AuthMethod=CHAP", "", "AuthMethod=CHAP")
	c.refuse("01", "CHAP_N=u CHAP_R=0x00", LoginAuthFailed)
	c = newClient(t, account)
	c.want("01", discovery+"AuthMethod=CHAP", "", "AuthMethod=CHAP")
	c.refuse("01", "AuthMethod=None", LoginInitiatorError)
	for stages, text := range map[string]string{"13": "", "01": "AuthMethod=None", "03": ""} {
		c := newClient(t, account)
		c.l.cfg.DiscoveryCHAP = true
		c.refuse(stages, discovery+text, LoginAuthFailed)
	}
	newClient(t, account).refuse("01", names+"AuthMethod=None", LoginAuthFailed)
}

// SessionType counts for the keys before it in the text, too.
func TestSessionTypeAfterOtherKeys(t *testing.T) {
	c := newClient(t)
	c.want("13", "MaxConnections=1 InitiatorName="+initiatorName+" SessionType=Discovery", "3",
		"MaxConnections=Irrelevant MaxRecvDataSegmentLength=262144")
}

func TestLoginRefused(t *testing.T) {
	for name, c := range map[string]struct {
		stages, text string
		status       LoginStatus
	}{
		"no initiator":            {"13", "TargetName=" + targetName, LoginMissingParameter},
		"no target":               {"13", "InitiatorName=" + initiatorName, LoginMissingParameter},
		"nothing":                 {"13", "", LoginMissingParameter},
		"bad initiator name":      {"13", "InitiatorName=a,b TargetName=" + targetName, LoginInitiatorError},
		"bad target name":         {"13", "InitiatorName=a TargetName=", LoginInitiatorError},
		"long name":               {"13", "InitiatorName=" + strings.Repeat("a", MaxName+1) + " TargetName=b", LoginInitiatorError},
		"unknown session type":    {"13", names + "SessionType=Other", LoginBadSessionType},
		"unknown target":          {"13", "InitiatorName=a TargetName=iqn.none", LoginNotFound},
		"forbidden target":        {"13", "InitiatorName=a TargetName=iqn.other", LoginForbidden},
		"reserved stage":          {"2", names, LoginInitiatorError},
		"full feature stage":      {"3", names, LoginInitiatorError},
		"backwards":               {"10", names, LoginInitiatorError},
		"to the same":             {"11", names, LoginInitiatorError},
		"to the reserved stage":   {"02", names, LoginInitiatorError},
		"key twice":               {"13", names + "MaxBurstLength=512 MaxBurstLength=512", LoginInitiatorError},
		"name twice":              {"13", names + names, LoginInitiatorError},
		"operational in security": {"01", names + "MaxBurstLength=512", LoginInitiatorError},
		"security in operational": {"13", names + "AuthMethod=None", LoginInitiatorError},
		"no common method":        {"01", names + "AuthMethod=KRB5,SRP", LoginAuthFailed},
		"CHAP without accounts":   {"01", names + "AuthMethod=CHAP", LoginAuthFailed},
		"CHAP keys without CHAP":  {"01", names + "AuthMethod=None CHAP_A=5", LoginInitiatorError},
		"segment out of range":    {"13", names + "MaxRecvDataSegmentLength=1", LoginInitiatorError},
		"segment is no number":    {"13", names + "MaxRecvDataSegmentLength=big", LoginInitiatorError},
		"SendTargets in login":    {"13", names + "MaxBurstLength=Reject", LoginInitiatorError},
	} {
		t.Run(name, func(t *testing.T) { newClient(t).refuse(c.stages, c.text, c.status) })
	}
}

func TestLoginHeaderRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*LoginRequest)
		status LoginStatus
	}{
		"version":  {func(r *LoginRequest) { r.VersionMin, r.VersionMax = 1, 1 }, LoginBadVersion},
		"T with C": {func(r *LoginRequest) { r.Continue = true }, LoginInitiatorError},
		"TSIH":     {func(r *LoginRequest) { r.TSIH = 9 }, LoginNoSession},
	} {
		t.Run(name, func(t *testing.T) {
			cl := newClient(t)
			r := cl.req
			r.Current, r.Transit, r.Next = Operational, true, FullFeature
			c.change(&r)
			resp, out := cl.l.Step(r, pairs(names).Append(nil))
			cl.refused(resp, string(out), c.status)
		})
	}
}

func TestLoginMustStaySame(t *testing.T) {
	for name, change := range map[string]func(*client){
		"ISID": func(c *client) { c.req.ISID[5]++ },
		"TSIH": func(c *client) { c.req.TSIH++ },
		"CID":  func(c *client) { c.req.CID++ },
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			c.want("1", names, "", "TargetPortalGroupTag=3 MaxRecvDataSegmentLength=262144")
			change(c)
			c.refuse("13", "", LoginInitiatorError)
		})
	}
	t.Run("stage", func(t *testing.T) {
		c := newClient(t)
		c.want("1", names, "", "TargetPortalGroupTag=3 MaxRecvDataSegmentLength=262144")
		c.refuse("01", "", LoginInitiatorError)
	})
	t.Run("names", func(t *testing.T) {
		for _, again := range []string{"InitiatorName=a", "TargetName=b", "SessionType=Discovery"} {
			c := newClient(t)
			c.want("1", names, "", "TargetPortalGroupTag=3 MaxRecvDataSegmentLength=262144")
			c.refuse("13", again, LoginInitiatorError)
		}
	})
}

func TestDiscoveryCantJoinASession(t *testing.T) {
	c := newClient(t)
	c.req.TSIH = 5
	c.refuse("13", "InitiatorName=a SessionType=Discovery", LoginCantInclude)
}

// libiscsi repeats the names in the operational stage of a discovery session.
func TestNamesMayBeRepeated(t *testing.T) {
	c := newClient(t)
	c.want("01", "InitiatorName="+initiatorName+" SessionType=Discovery AuthMethod=CHAP,None", "1", "AuthMethod=None")
	c.want("13", "InitiatorName="+initiatorName+" SessionType=Discovery HeaderDigest=None", "3", "HeaderDigest=None MaxRecvDataSegmentLength=262144")

	c = newClient(t)
	c.want("01", names+"InitiatorAlias=box", "1", "TargetPortalGroupTag=3")
	c.want("13", names+"InitiatorAlias=box SessionType=Normal", "3", "MaxRecvDataSegmentLength=262144")
	if p := c.l.Outcome(); p.InitiatorName != initiatorName || p.TargetName != targetName || len(c.ids) != 1 {
		t.Errorf("%+v", p)
	}
}

// The text of a request may be cut anywhere, also within a key.
func TestLoginTextSplitByTheInitiator(t *testing.T) {
	whole := pairs(names + "MaxBurstLength=65536").Append(nil)
	for cut := range whole {
		c := newClient(t)
		resp, out := c.sendRaw("1C", whole[:cut])
		if c.good(resp, ""); out != "" {
			t.Fatalf("cut at %d: answered %q before the end", cut, out)
		}
		resp, out = c.sendRaw("13", whole[cut:])
		if c.good(resp, "3"); out != "TargetPortalGroupTag=3 MaxBurstLength=65536 MaxRecvDataSegmentLength=262144" {
			t.Fatalf("cut at %d: %q", cut, out)
		}
	}
}

// An answer longer than the initiator takes comes in parts, the stage change
// with the last.
func TestLoginTextSplitByTheTarget(t *testing.T) {
	c := newClient(t)
	text := names + "MaxRecvDataSegmentLength=512 "
	for i := range maxUnknown {
		text += fmt.Sprintf("X-com.example.key-%d=1 ", i)
	}
	resp, part := c.send("13", text)
	all := ""
	parts := 1
	for resp.Continue {
		if resp.Transit || c.l.Done() || len(part) > 512 {
			t.Fatalf("T with C, or a part of %d bytes", len(part))
		}
		all += part
		var out []byte
		r := c.req
		r.Current, r.Transit, r.Next = Operational, true, FullFeature
		resp, out = c.l.Step(r, nil)
		part = string(out)
		parts++
	}
	c.good(resp, "3")
	all += part
	keys, err := ParseText([]byte(all))
	if err != nil || len(keys) != maxUnknown+2 || parts < 4 || !c.l.Done() {
		t.Errorf("%d keys in %d parts, %v", len(keys), parts, err)
	}
}

func TestTextWhileTheTargetIsNotDone(t *testing.T) {
	c := newClient(t)
	text := names + "MaxRecvDataSegmentLength=512 "
	for i := range maxUnknown {
		text += fmt.Sprintf("X-com.example.key-%d=1 ", i)
	}
	if resp, _ := c.send("13", text); !resp.Continue {
		t.Fatal("the answer fits")
	}
	c.refuse("13", "MaxBurstLength=512", LoginInitiatorError)
}

func TestLoginTextIsBounded(t *testing.T) {
	c := newClient(t)
	for range maxLoginText / LoginSegment {
		resp, _ := c.sendRaw("1C", bytes.Repeat([]byte{'A'}, LoginSegment))
		c.good(resp, "")
	}
	resp, out := c.sendRaw("1C", []byte{'A'})
	c.refused(resp, out, LoginOutOfResources)
}

func TestLoginRoundsAreBounded(t *testing.T) {
	c := newClient(t)
	c.want("1", names, "", "TargetPortalGroupTag=3 MaxRecvDataSegmentLength=262144")
	for range maxLoginPDUs - 1 {
		c.want("1", "", "", "")
	}
	c.refuse("13", "", LoginInitiatorError)
}

func TestRefuseAfterDone(t *testing.T) {
	c := newClient(t)
	resp, _ := c.send("13", names)
	resp = c.l.Refuse(resp, LoginOutOfResources)
	if c.l.Done() || c.l.Err() == nil || resp.Status != LoginOutOfResources || resp.Transit || resp.DataLen != 0 {
		t.Errorf("%+v", resp)
	}
}

func TestLoginAfterDone(t *testing.T) {
	c := newClient(t)
	c.send("13", names)
	if resp, _ := c.send("13", ""); resp.Status != LoginInvalidRequest {
		t.Errorf("%v", resp.Status)
	}
}

func TestLoginErrorsTell(t *testing.T) {
	c := newClient(t)
	c.refuse("13", "InitiatorName=a TargetName=iqn.none", LoginNotFound)
	var e *loginError
	if err := c.l.Err(); !errors.As(err, &e) || !strings.Contains(err.Error(), "iqn.none") || !strings.Contains(err.Error(), "0203h") {
		t.Error(err)
	}
}

// A whole login made of whatever: one request per 0xff-separated chunk.
func FuzzLogin(f *testing.F) {
	f.Add([]byte("\x87InitiatorName=a\x00TargetName=b\x00"), false)
	f.Add([]byte("\x81InitiatorName=a\x00TargetName=b\x00AuthMethod=CHAP\x00\xff\x00CHAP_A=7\x00\xff\x83CHAP_N=u\x00CHAP_R=0x00\x00"), true)
	f.Add([]byte("\x44InitiatorName=\xff\x87a\x00SessionType=Discovery\x00"), false)
	f.Fuzz(func(t *testing.T, b []byte, auth bool) {
		var accounts []san.CHAP
		if auth {
			accounts = []san.CHAP{{User: "u", Secret: "secret-of-12"}}
		}
		l := NewLogin(LoginConfig{Limits: testLimits(), DiscoveryCHAP: len(b)%2 == 0, Challenger: NewChallenger(), Identify: func(Identity) ([]san.CHAP, LoginStatus) { return accounts, LoginSuccess }})
		for _, chunk := range bytes.Split(b, []byte{0xff}) {
			if len(chunk) == 0 {
				continue
			}
			h := BHS{0: 0x43, 1: chunk[0]}
			r, err := ParseLoginRequest(&h)
			if err != nil {
				t.Fatal(err)
			}
			resp, out := l.Step(r, chunk[1:])
			if len(out) > l.neg.Params.MaxSend || resp.DataLen != len(out) {
				t.Fatalf("%d bytes for an initiator that takes %d", len(out), l.neg.Params.MaxSend)
			}
			if resp.Transit && resp.Continue {
				t.Fatal("T and C in one response")
			}
			if (resp.Status != LoginSuccess) != (l.Err() != nil) {
				t.Fatalf("status %v, error %v", resp.Status, l.Err())
			}
			if l.Done() && (!resp.Transit || resp.Next != FullFeature) {
				t.Fatal("done without saying so")
			}
			if l.Done() && auth && (!l.Identity().Discovery || l.cfg.DiscoveryCHAP) {
				t.Fatal("done without authentication") // nobody guesses the response to a challenge
			}
			if l.Done() || l.Err() != nil {
				return
			}
		}
	})
}

// Names are one whichever case they come in.
func TestNamesAreFolded(t *testing.T) {
	c := newClient(t)
	c.send("01", "InitiatorName=IQN.2026-11.Test:HOST TargetName=iqn.2026-11.TEST:disk AuthMethod=None")
	if id := c.l.Identity(); id.Initiator.Name != initiatorName || id.Target != targetName {
		t.Errorf("identity %+v", id)
	}
	c.send("13", "InitiatorName=iqn.2026-11.test:Host") // said again, in yet another case
	if err := c.l.Err(); err != nil || !c.l.Done() {
		t.Errorf("done %v, %v", c.l.Done(), err)
	}
}

// The name of a session is noted in the operational stage of a normal session,
// and answered with nothing.
func TestInstanceIsDeclared(t *testing.T) {
	const digits = "0102030405060708090a0b0c0d0e0f1011121314"
	want := san.Instance{Group: 0x0102030405060708, Run: 0x090a0b0c0d0e0f10, Login: 0x11121314}
	c := newClient(t)
	c.want("13", names+"X-io.sango.Instance=0x"+digits, "3", "TargetPortalGroupTag=3 MaxRecvDataSegmentLength=262144")
	if got := c.l.Identity().Instance; got != want {
		t.Errorf("noted %v, want %v", got, want)
	}
	c = newClient(t)
	resp, answer := c.send("13", "InitiatorName=a SessionType=Discovery X-io.sango.Instance=0x"+digits)
	c.good(resp, "3")
	if !strings.Contains(answer, "X-io.sango.Instance=Irrelevant") || c.l.Identity().Instance != (san.Instance{}) {
		t.Errorf("a discovery session is answered %s and named %v", answer, c.l.Identity().Instance)
	}
	newClient(t).refuse("01", names+"X-io.sango.Instance=0x"+digits, LoginInitiatorError)
	for _, wrong := range []string{
		"0x" + digits[2:], "0x" + digits + "15", "0x0" + digits[2:], digits, "0b" + digits, "0x000000000000000000" + digits[18:], "None",
		"0x0000000000000000" + digits[16:], "0x" + strings.Repeat("g", 40), "0b" + "AQIDBAUGBwgJCgsMDQ4PEBESExQ=",
	} {
		c := newClient(t)
		c.refuse("13", names+"X-io.sango.Instance="+wrong, LoginInitiatorError)
	}
	// In full feature phase it is too late.
	p := DefaultParams()
	got, err := Renegotiate(p).Answer(pairs("X-io.sango.Instance=0x"+digits), PhaseFull)
	if v, _ := got.Get(KeyInstance); err != nil || v != ValueReject {
		t.Errorf("full feature phase: %v, %v", got, err)
	}
}
