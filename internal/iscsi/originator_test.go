package iscsi

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sango/internal/san"
)

const (
	hostSecret   = "secret-of-the-host"
	targetSecret = "secret-of-the-target"
)

// tb is what the tests of the originator need of testing.TB, and what
// *rapid.T has of it.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
}

func originConfig() OriginatorConfig {
	return OriginatorConfig{
		Initiator: san.InitiatorPort{Name: initiatorName, ISID: san.ISID{0x80, 1, 2, 3, 4, 5}},
		Target:    targetName,
		CID:       1,
		ITT:       7,
		CmdSN:     100,
		Offers:    DefaultOffers(),
	}
}

func loginConfig(accounts ...san.CHAP) LoginConfig {
	return LoginConfig{TPG: 3, Limits: testLimits(), Challenger: NewChallenger(), Identify: func(Identity) ([]san.CHAP, LoginStatus) {
		return accounts, LoginSuccess
	}}
}

// login runs a login of o at l to its end. between sees every response.
func login(t tb, o *Originator, l *Login, between func(*LoginResponse, *[]byte)) error {
	t.Helper()
	req, text := o.First()
	for range 200 {
		if req.DataLen != len(text) || len(text) > LoginSegment || req.Transit && req.Continue {
			t.Fatalf("%+v with %d bytes", req, len(text))
		}
		var h BHS
		req.Put(&h)
		again, err := ParseLoginRequest(&h)
		if err != nil || again != req {
			t.Fatalf("%+v, %v", again, err)
		}
		resp, answer := l.Step(again, text)
		if between != nil {
			answer = bytes.Clone(answer)
			between(&resp, &answer)
		}
		if req, text, err = o.Step(resp, answer); err != nil {
			if o.Done() {
				t.Fatalf("done in spite of %v", err)
			}
			return err
		}
		if o.Done() {
			return nil
		}
	}
	t.Fatalf("the login does not end")
	return nil
}

// mirrored returns what the other side of a session holds for p.
func mirrored(p Params) Params {
	p.MaxSend, p.MaxRecv = p.MaxRecv, p.MaxSend
	return p
}

// agree checks that both sides have ended with the same.
func agree(t tb, o *Originator, l *Login) {
	t.Helper()
	if !o.Done() || !l.Done() {
		t.Fatalf("done: initiator %v, target %v", o.Done(), l.Done())
	}
	ours, theirs := o.Outcome(), mirrored(l.Outcome())
	if ours.InitialR2T && !ours.ImmediateData { // without meaning then
		ours.FirstBurstLength, theirs.FirstBurstLength = 0, 0
	}
	if ours != theirs {
		t.Fatalf("the initiator holds\n%+v, the target\n%+v", ours, theirs)
	}
	if o.ExpStatSN() != l.StatSN() || o.CmdSN() != l.CmdSN() {
		t.Fatalf("StatSN %d and %d, CmdSN %d and %d", o.ExpStatSN(), l.StatSN(), o.CmdSN(), l.CmdSN())
	}
}

func TestOriginatorLogin(t *testing.T) {
	cfg := originConfig()
	cfg.Alias = "box"
	o, lc := NewOriginator(cfg), loginConfig()
	lc.Alias = "big-disk"
	l := NewLogin(lc)
	if err := login(t, o, l, func(r *LoginResponse, _ *[]byte) { r.TSIH = 0x1234 }); err != nil {
		t.Fatal(err)
	}
	agree(t, o, l)
	want := Params{
		InitiatorName: initiatorName, InitiatorAlias: "box", TargetName: targetName, MaxConnections: 1, ImmediateData: true,
		MaxBurstLength: 1 << 20, FirstBurstLength: 128 << 10, MaxOutstandingR2T: 8, DefaultTime2Wait: 5,
		DataPDUInOrder: true, DataSequenceInOrder: true, ProtocolLevel: 1, MaxSend: 256 << 10, MaxRecv: 256 << 10,
	}
	if got := o.Outcome(); got != want {
		t.Errorf("%+v", got)
	}
	if tpg, ok := o.TPG(); !ok || tpg != 3 || o.TSIH() != 0x1234 || o.TargetAlias() != "big-disk" || o.InstanceNoted() {
		t.Errorf("tag %d %v, TSIH %#x, alias %q, instance %v", tpg, ok, o.TSIH(), o.TargetAlias(), o.InstanceNoted())
	}
	if l.Identity().Alias != "box" {
		t.Errorf("%+v", l.Identity())
	}
}

func TestOriginatorDiscovery(t *testing.T) {
	cfg := originConfig()
	cfg.Discovery, cfg.Target, cfg.Instance = true, "", san.Instance{Group: 1, Run: 2, Login: 3}
	o, l := NewOriginator(cfg), NewLogin(loginConfig())
	if err := login(t, o, l, nil); err != nil {
		t.Fatal(err)
	}
	agree(t, o, l)
	if !o.Outcome().Discovery || o.InstanceNoted() {
		t.Errorf("%+v, instance %v", o.Outcome(), o.InstanceNoted())
	}
}

func TestOriginatorCHAP(t *testing.T) {
	oneWay := san.CHAP{User: "0x12", Secret: hostSecret} // a name that looks like a number
	mutual := san.CHAP{User: "host", Secret: hostSecret, MutualUser: "disk", MutualSecret: targetSecret}
	for _, account := range []san.CHAP{oneWay, mutual} {
		for _, a := range append(AllCHAPAlgorithms(), 0) {
			t.Run(fmt.Sprint(account.User, a), func(t *testing.T) {
				cfg := originConfig()
				cfg.CHAP = &account
				if a != 0 {
					cfg.Algorithms = []CHAPAlgorithm{a}
				}
				o, l := NewOriginator(cfg), NewLogin(loginConfig(account))
				if err := login(t, o, l, nil); err != nil {
					t.Fatal(err)
				}
				agree(t, o, l)
				if l.User() != account.User || a != 0 && l.security.chap.algorithm != a || a == 0 && l.security.chap.algorithm != CHAPSHA3256 {
					t.Errorf("user %q by %v", l.User(), l.security.chap.algorithm)
				}
			})
		}
	}
}

// An account that the target does not want is not a reason to stay away,
// unless the target shall prove itself.
func TestOriginatorCHAPNotWanted(t *testing.T) {
	cfg := originConfig()
	cfg.CHAP = &san.CHAP{User: "host", Secret: hostSecret}
	o, l := NewOriginator(cfg), NewLogin(loginConfig())
	if err := login(t, o, l, nil); err != nil {
		t.Fatal(err)
	}
	agree(t, o, l)
	if l.User() != "" {
		t.Errorf("user %q", l.User())
	}
	cfg.CHAP.MutualSecret = targetSecret
	var refused *LoginError
	if err := login(t, NewOriginator(cfg), NewLogin(loginConfig()), nil); !errors.As(err, &refused) || refused.Status != LoginAuthFailed {
		t.Errorf("%v", err)
	}
}

func TestOriginatorCHAPRefused(t *testing.T) {
	right := san.CHAP{User: "host", Secret: hostSecret, MutualUser: "disk", MutualSecret: targetSecret}
	with := func(f func(*san.CHAP)) san.CHAP { a := right; f(&a); return a }
	for name, c := range map[string]struct {
		ours, theirs san.CHAP
		want         string
	}{
		"our secret":       {with(func(a *san.CHAP) { a.Secret = "something-else" }), right, "0201h"},
		"our user":         {with(func(a *san.CHAP) { a.User = "other" }), right, "0201h"},
		"their secret":     {right, with(func(a *san.CHAP) { a.MutualSecret = "something-else" }), "has another secret"},
		"their user":       {right, with(func(a *san.CHAP) { a.MutualUser = "other" }), `proves itself as "other", not as "disk"`},
		"no mutual there":  {right, with(func(a *san.CHAP) { a.MutualUser, a.MutualSecret = "", "" }), "0201h"},
		"same secrets":     {with(func(a *san.CHAP) { a.MutualSecret = a.Secret }), right, "are the same"},
		"no user":          {with(func(a *san.CHAP) { a.User = "" }), right, "needs a user"},
		"no secret":        {with(func(a *san.CHAP) { a.Secret = "" }), right, "needs a user and a secret"},
		"no mutual secret": {with(func(a *san.CHAP) { a.MutualSecret = "" }), right, "no secret to hold it to"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := originConfig()
			cfg.CHAP = &c.ours
			err := login(t, NewOriginator(cfg), NewLogin(loginConfig(c.theirs)), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), hostSecret) || strings.Contains(err.Error(), targetSecret) {
				t.Errorf("%v tells a secret", err)
			}
		})
	}
}

// tgt takes 7 for SHA-1, and chooses the first of 5 and 7 that it finds.
func TestOriginatorOffersSHA256Last(t *testing.T) {
	cfg := originConfig()
	cfg.CHAP = &san.CHAP{User: "host", Secret: hostSecret}
	s := newScript(t, NewOriginator(cfg))
	s.step("0", "AuthMethod=CHAP", "0 CHAP_A=8,6,5,7")
}

// A target without secrets, which sends our own challenge of another
// connection on to us, gets no answer to it.
func TestOriginatorRefusesReflection(t *testing.T) {
	account := san.CHAP{User: "host", Secret: hostSecret, MutualUser: "disk", MutualSecret: targetSecret}
	cfg := originConfig()
	cfg.CHAP = &account
	first := NewOriginator(cfg)
	script := newScript(t, first)
	script.step("0", "AuthMethod=CHAP", "0 CHAP_A=8,6,5,7")
	challenge, _ := script.stepKeys("0", "CHAP_A=5 CHAP_I=1 CHAP_C=0x0102030405060708").Get(KeyCHAPChallenge)
	if challenge == "" {
		t.Fatal("no challenge")
	}
	second := newScript(t, NewOriginator(cfg))
	second.step("0", "AuthMethod=CHAP", "0 CHAP_A=8,6,5,7")
	second.fail("0", "CHAP_A=5 CHAP_I=1 CHAP_C="+challenge, "one of our challenges back")
	// Nor does the same connection take its own.
	third := newScript(t, NewOriginator(cfg))
	third.step("0", "AuthMethod=CHAP", "0 CHAP_A=8,6,5,7")
	third.fail("0", "CHAP_A=5 CHAP_I=1 CHAP_C="+challenge, "one of our challenges back")
}

// script is a target that says what it is told to.
type script struct {
	t     *testing.T
	o     *Originator
	req   LoginRequest
	text  Keys
	stats StatSN
}

func newScript(t *testing.T, o *Originator) *script {
	s := &script{t: t, o: o}
	req, text := o.First()
	s.request(req, text)
	return s
}

func (s *script) request(req LoginRequest, text []byte) {
	s.t.Helper()
	s.req = req
	s.text, _ = ParseText(text) // nil for a part of one
}

// raw sends a response: stages as in client.send.
func (s *script) raw(stages string, data []byte) error {
	r := LoginResponse{Current: Stage(stages[0] - '0'), ISID: s.req.ISID, ITT: s.req.ITT, StatSN: s.stats, ExpCmdSN: s.req.CmdSN, DataLen: len(data)}
	s.stats++
	if len(stages) > 1 && stages[1] == 'C' {
		r.Continue = true
	} else if len(stages) > 1 {
		r.Transit, r.Next = true, Stage(stages[1]-'0')
	}
	req, text, err := s.o.Step(r, data)
	if err == nil && !s.o.Done() {
		s.request(req, text)
	}
	return err
}

func (s *script) stepKeys(stages, text string) Keys {
	s.t.Helper()
	if err := s.raw(stages, pairs(text).Append(nil)); err != nil {
		s.t.Fatal(err)
	}
	return s.text
}

// step sends a response and wants the next request, as stages and text.
func (s *script) step(stages, text, want string) {
	s.t.Helper()
	s.stepKeys(stages, text)
	got := fmt.Sprint(uint8(s.req.Current))
	if s.req.Transit {
		got += fmt.Sprint(uint8(s.req.Next))
	}
	if got = strings.TrimSpace(got + " " + show(s.text)); got != want {
		s.t.Fatalf("the initiator sent\n%s, want\n%s", got, want)
	}
}

// fail sends a response that has to end the login.
func (s *script) fail(stages, text, want string) {
	s.t.Helper()
	err := s.raw(stages, pairs(text).Append(nil))
	if err == nil || !strings.Contains(err.Error(), want) {
		s.t.Fatalf("%v, want %q", err, want)
	}
	if again := s.raw(stages, nil); again == nil || s.o.Done() {
		s.t.Fatal("the login goes on after its end")
	}
}

// operational goes on to the operational stage.
func (s *script) operational() *script {
	s.t.Helper()
	s.stepKeys("01", "AuthMethod=None")
	return s
}

func TestOriginatorFirst(t *testing.T) {
	cfg := originConfig()
	cfg.Alias = "box"
	s := newScript(t, NewOriginator(cfg))
	want := LoginRequest{Transit: true, Next: Operational, ISID: cfg.Initiator.ISID, ITT: 7, CID: 1, CmdSN: 100, DataLen: s.req.DataLen}
	if s.req != want {
		t.Errorf("%+v", s.req)
	}
	if got, want := show(s.text), "InitiatorName="+initiatorName+" InitiatorAlias=box TargetName="+targetName+" SessionType=Normal AuthMethod=None"; got != want {
		t.Error(got)
	}
	s.step("01", "TargetPortalGroupTag=1 AuthMethod=None", "13 HeaderDigest=None,CRC32C DataDigest=None,CRC32C MaxConnections=1 InitialR2T=No "+
		"ImmediateData=Yes MaxBurstLength=1048576 MaxOutstandingR2T=16 DataPDUInOrder=Yes DataSequenceInOrder=Yes FirstBurstLength=262144 "+
		"DefaultTime2Wait=2 DefaultTime2Retain=0 ErrorRecoveryLevel=0 MaxRecvDataSegmentLength=262144")
}

func TestOriginatorInstance(t *testing.T) {
	cfg := originConfig()
	cfg.Instance = san.Instance{Group: 1, Run: 2, Login: 3}
	for answer, noted := range map[string]bool{
		"": true, KeyInstance + "=NotUnderstood": false, KeyInstance + "=Reject": false, KeyInstance + "=Irrelevant": false, KeyInstance + "=x": false,
	} {
		o := NewOriginator(cfg)
		s := newScript(t, o).operational()
		if v, _ := s.text.Get(KeyInstance); v != "0x0000000000000001000000000000000200000003" {
			t.Fatal(show(s.text))
		}
		if o.InstanceNoted() {
			t.Error("noted before the end")
		}
		if s.stepKeys("13", answer); !o.Done() || o.InstanceNoted() != noted {
			t.Errorf("%q: noted %v", answer, o.InstanceNoted())
		}
	}
}

// What a target may answer, and what ends the login.
func TestOriginatorAnswers(t *testing.T) {
	digests := originConfig()
	digests.Offers.HeaderDigest = []string{DigestCRC32C}
	digests.Offers.InitialR2T = true
	digests.Offers.ImmediateData = false
	digests.Offers.DefaultTime2Wait = 5
	digests.Offers.MaxBurstLength = 65536
	for _, c := range []struct {
		cfg          OriginatorConfig
		answer, want string // want "": taken
	}{
		{originConfig(), "", ""},
		{originConfig(), "HeaderDigest=CRC32C DataDigest=None InitialR2T=Yes ImmediateData=No MaxBurstLength=512 DefaultTime2Wait=3600", ""},
		{originConfig(), "HeaderDigest=Reject DataDigest=NotUnderstood InitialR2T=Reject ImmediateData=Irrelevant MaxBurstLength=Reject MaxConnections=Irrelevant " +
			"FirstBurstLength=Irrelevant MaxOutstandingR2T=Reject DataPDUInOrder=Irrelevant DataSequenceInOrder=Irrelevant DefaultTime2Wait=Irrelevant " +
			"DefaultTime2Retain=Irrelevant ErrorRecoveryLevel=Irrelevant InitiatorAlias=NotUnderstood", ""},
		{originConfig(), "MaxBurstLength=0x80000", ""},
		{originConfig(), "TargetAlias=disk TargetAddress=10.0.0.1:3260,1 X-com.example.key=1 MaxRecvDataSegmentLength=512", ""},
		{originConfig(), "TaskReporting=FastAbort iSCSIProtocolLevel=2 IFMarker=No", ""}, // told too late to answer
		{originConfig(), "HeaderDigest=X-sha", "not among them"},
		{originConfig(), "HeaderDigest=None,CRC32C", "not among them"},
		{originConfig(), "MaxConnections=2", "only 1 to 1 is within the offer"},
		{originConfig(), "MaxBurstLength=1048577", "only 512 to 1048576 is within the offer"},
		{originConfig(), "MaxBurstLength=511", "only 512 to 1048576 is within the offer"},
		{originConfig(), "FirstBurstLength=262145", "only 512 to 262144 is within the offer"},
		{originConfig(), "MaxOutstandingR2T=17", "only 1 to 16"},
		{originConfig(), "MaxOutstandingR2T=0", "only 1 to 16"},
		{originConfig(), "DefaultTime2Wait=1", "only 2 to 3600"},
		{originConfig(), "DefaultTime2Retain=1", "only 0 to 0"},
		{originConfig(), "ErrorRecoveryLevel=1", "only 0 to 0"},
		{originConfig(), "DataPDUInOrder=No", "only Yes"},
		{originConfig(), "DataSequenceInOrder=No", "only Yes"},
		{originConfig(), "InitialR2T=maybe", "not a legal value"},
		{originConfig(), "MaxBurstLength=many", "not a legal value"},
		{originConfig(), "MaxBurstLength=512 MaxBurstLength=512", "a second time"},
		{originConfig(), "MaxRecvDataSegmentLength=511", "out of range"},
		{originConfig(), "MaxRecvDataSegmentLength=Reject", "answered Reject"},
		{originConfig(), "MaxRecvDataSegmentLength=512 MaxRecvDataSegmentLength=512", "a second time"},
		{originConfig(), "TargetPortalGroupTag=65536", "portal group tag"},
		{originConfig(), "InitiatorName=iqn.a", "not its to send"},
		{originConfig(), "SessionType=Discovery", "not its to send"},
		{originConfig(), "TargetName=Reject", "answered Reject"},
		{originConfig(), "AuthMethod=CHAP", "a second time"},
		{originConfig(), "CHAP_A=5", "after the security stage"},
		{digests, "", "did not answer HeaderDigest=CRC32C, and None"},
		{digests, "HeaderDigest=Reject", "answered Reject to HeaderDigest=CRC32C"},
		{digests, "HeaderDigest=None", "not among them"},
		{digests, "HeaderDigest=CRC32C", "did not answer ImmediateData=No"},
		{digests, "HeaderDigest=CRC32C ImmediateData=Yes", "only No is within the offer"},
		{digests, "HeaderDigest=CRC32C ImmediateData=No InitialR2T=No", "only Yes is within the offer"},
		{digests, "HeaderDigest=CRC32C ImmediateData=No MaxBurstLength=NotUnderstood", "262144, which holds then"},
		{digests, "HeaderDigest=CRC32C ImmediateData=No MaxBurstLength=65536", ""},
	} {
		s := newScript(t, NewOriginator(c.cfg)).operational()
		if c.want != "" {
			s.fail("13", c.answer, c.want)
		} else if s.stepKeys("13", c.answer); !s.o.Done() {
			t.Errorf("%s: not done", c.answer)
		}
	}
}

// Reject leaves the defaults in force, not the offers.
func TestOriginatorDefaultsStand(t *testing.T) {
	s := newScript(t, NewOriginator(originConfig())).operational()
	s.stepKeys("13", "HeaderDigest=Reject InitialR2T=Reject MaxBurstLength=Reject FirstBurstLength=Reject MaxOutstandingR2T=Reject DefaultTime2Wait=Reject DefaultTime2Retain=Reject")
	want := DefaultParams()
	want.InitiatorName, want.TargetName, want.MaxRecv = initiatorName, targetName, 256<<10
	if got := s.o.Outcome(); got != want {
		t.Errorf("%+v", got)
	}
}

// What the target offers on its own is answered, in the stage it comes in or
// with the next text.
func TestOriginatorIsOffered(t *testing.T) {
	s := newScript(t, NewOriginator(originConfig()))
	s.step("0", "X-com.example.key=1", "01 X-com.example.key=NotUnderstood")
	s.stepKeys("01", "X-com.example.other=1")
	if v, _ := s.text.Get("X-com.example.other"); v != ValueNotUnderstood {
		t.Errorf("sent %s", show(s.text))
	}
	s.step("1", "TaskReporting=RFC3720,FastAbort IFMarker=Yes MaxBurstLength=65536", "13 TaskReporting=RFC3720 IFMarker=No")
	s.step("1", "", "13")
	if s.stepKeys("13", ""); !s.o.Done() || s.o.Outcome().MaxBurstLength != 65536 {
		t.Errorf("%+v", s.o.Outcome())
	}
}

func TestOriginatorSecurityStage(t *testing.T) {
	one, both := originConfig(), originConfig()
	one.CHAP = &san.CHAP{User: "host", Secret: hostSecret}
	both.CHAP = &san.CHAP{User: "host", Secret: hostSecret, MutualSecret: targetSecret}
	const begin, challenge = "AuthMethod=CHAP", "CHAP_A=7 CHAP_I=1 CHAP_C=0x0102"
	for _, c := range []struct {
		cfg   OriginatorConfig
		texts []string
		want  string
	}{
		{originConfig(), []string{"AuthMethod=CHAP"}, `answered "CHAP"`},
		{originConfig(), []string{"AuthMethod=Reject"}, `answered "Reject"`},
		{originConfig(), []string{"MaxBurstLength=512"}, "may not come in this stage"},
		{one, []string{"AuthMethod=KRB5"}, `answered "KRB5"`},
		{one, []string{"AuthMethod=CHAP CHAP_A=5"}, "more than its choice"},
		{one, []string{begin, ""}, "did not answer CHAP_A"},
		{one, []string{begin, "CHAP_A=9 CHAP_I=1 CHAP_C=0x01"}, `chose "9"`},
		{one, []string{begin, "CHAP_A=7,5 CHAP_I=1 CHAP_C=0x01"}, `chose "7,5"`},
		{one, []string{begin, "CHAP_A=Reject"}, `chose "Reject"`},
		{one, []string{begin, "CHAP_A=7 CHAP_I=1"}, "together"},
		{one, []string{begin, "CHAP_A=7 CHAP_I=256 CHAP_C=0x01"}, "CHAP_I is not a number"},
		{one, []string{begin, "CHAP_A=7 CHAP_I=1 CHAP_C=01"}, "CHAP_C"},
		{one, []string{begin, "CHAP_A=7 CHAP_I=1 CHAP_C=0x" + strings.Repeat("01", MaxChallenge+1)}, "CHAP_C"},
		{one, []string{begin, begin}, "a second time"},
		{one, []string{begin, challenge, "", "CHAP_N=x"}, "after the end of the exchange"},
		{both, []string{"AuthMethod=None"}, "does not prove itself"},
		{both, []string{""}, "does not prove itself"},
		{both, []string{begin, challenge, ""}, "CHAP_N or CHAP_R is missing"},
		{both, []string{begin, challenge, "CHAP_N=disk CHAP_R=0x"}, "no binary value"},
		{both, []string{begin, challenge, "CHAP_N=disk CHAP_R=0x01"}, "another secret"},
	} {
		s := newScript(t, NewOriginator(c.cfg))
		for i, text := range c.texts {
			if i == len(c.texts)-1 {
				s.fail("0", text, c.want)
			} else {
				s.stepKeys("0", text)
			}
		}
	}
	// T for the last of the exchange only.
	s := newScript(t, NewOriginator(one))
	s.step("0", begin, "0 CHAP_A=8,6,5,7")
	s.stepKeys("0", challenge)
	if !s.req.Transit || s.req.Next != Operational || len(s.text) != 2 {
		t.Errorf("%+v %s", s.req, show(s.text))
	}
	s.step("0", "", "01")
	s.stepKeys("01", "")
	if s.req.Current != Operational {
		t.Errorf("%+v", s.req)
	}
}

func TestOriginatorHeaders(t *testing.T) {
	good := LoginResponse{Current: Security, Transit: true, Next: Operational, ITT: 7}
	for name, c := range map[string]struct {
		change func(*LoginResponse)
		want   string
	}{
		"task tag":     {func(r *LoginResponse) { r.ITT++ }, "task tag"},
		"version":      {func(r *LoginResponse) { r.VersionActive = 1 }, "version 1"},
		"stage":        {func(r *LoginResponse) { r.Current = Operational }, "while the login is in SecurityNegotiation"},
		"T and C":      {func(r *LoginResponse) { r.Continue = true }, "T and C"},
		"full feature": {func(r *LoginResponse) { r.Next = FullFeature }, "when asked for LoginOperationalNegotiation"},
		"reserved":     {func(r *LoginResponse) { r.Next = 2 }, "reserved stage 2"},
	} {
		t.Run(name, func(t *testing.T) {
			o, r := NewOriginator(originConfig()), good
			o.First()
			c.change(&r)
			if _, _, err := o.Step(r, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	cfg := originConfig()
	cfg.CHAP = &san.CHAP{User: "host", Secret: hostSecret}
	newScript(t, NewOriginator(cfg)).fail("01", "AuthMethod=CHAP", "unasked")
	s := newScript(t, NewOriginator(originConfig())).operational()
	s.stepKeys("13", "")
	if err := s.raw("13", nil); err == nil {
		t.Error("a response after the end was taken")
	}
}

func TestOriginatorRefused(t *testing.T) {
	o := NewOriginator(originConfig())
	o.First()
	_, _, err := o.Step(LoginResponse{ITT: 7, Status: LoginForbidden}, nil)
	var e *LoginError
	if !errors.As(err, &e) || e.Status != LoginForbidden || len(e.Redirect) != 0 ||
		err.Error() != "login to "+targetName+" as "+initiatorName+": the target answered 0202h, authorization failure" {
		t.Errorf("%v", err)
	}
	for text, want := range map[string]string{
		"TargetAddress=10.0.0.1:3261 TargetAddress=[fd00::1] X-a=b": "",
		"":                        "does not say where to",
		"TargetAddress=:3260":     "no host",
		"TargetAddress=a TargetA": "not of the form",
	} {
		o := NewOriginator(originConfig())
		o.First()
		data := bytes.ReplaceAll([]byte(text), []byte(" "), []byte{0})
		if len(data) > 0 {
			data = append(data, 0)
		}
		_, _, err := o.Step(LoginResponse{ITT: 7, Status: LoginMovedTemporarily}, data)
		e = nil
		switch {
		case want != "":
			if err == nil || errors.As(err, &e) || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v", text, err)
			}
		case !errors.As(err, &e) || !slices.Equal(e.Redirect, []TargetAddress{{Addr: "10.0.0.1:3261"}, {Addr: "[fd00::1]:3260"}}):
			t.Errorf("%v", err)
		}
	}
}

func TestOriginatorTextIsBounded(t *testing.T) {
	s := newScript(t, NewOriginator(originConfig()))
	for range maxLoginText / LoginSegment {
		if err := s.raw("0C", bytes.Repeat([]byte{'A'}, LoginSegment)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.raw("0C", []byte{'A'}); err == nil || !strings.Contains(err.Error(), "65536 bytes") {
		t.Error(err)
	}
	s = newScript(t, NewOriginator(originConfig())).operational()
	for range maxLoginPDUs - 1 {
		s.stepKeys("1", "")
	}
	s.fail("1", "", "not over after 64")
	s = newScript(t, NewOriginator(originConfig())).operational()
	var text []string
	for i := range maxUnknown + 1 {
		text = append(text, fmt.Sprintf("X-%d=1", i))
	}
	s.fail("1", strings.Join(text, " "), "unknown keys")
}

// The target's text may be cut anywhere.
func TestOriginatorTextSplitByTheTarget(t *testing.T) {
	whole := pairs("MaxBurstLength=65536 TargetAlias=disk MaxRecvDataSegmentLength=65536").Append(nil)
	for cut := range whole {
		s := newScript(t, NewOriginator(originConfig())).operational()
		if err := s.raw("1C", whole[:cut]); err != nil {
			t.Fatal(err)
		}
		if s.req.DataLen != 0 || !s.req.Transit || s.req.Continue {
			t.Fatalf("%+v asks for the rest", s.req)
		}
		if err := s.raw("13", whole[cut:]); err != nil || !s.o.Done() || s.o.Outcome().MaxBurstLength != 65536 || s.o.TargetAlias() != "disk" {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

// Text past what the target takes goes out in parts, which it may not answer.
func TestOriginatorSplitsItsText(t *testing.T) {
	begin := func() *script {
		cfg := originConfig()
		cfg.Instance = san.Instance{Group: 1}
		s := newScript(t, NewOriginator(cfg))
		s.stepKeys("0", "MaxRecvDataSegmentLength=512")
		s.stepKeys("01", "")
		return s
	}
	s := begin()
	if s.req.Current != Operational || s.req.DataLen > 512 {
		t.Fatalf("%+v", s.req)
	}
	if s.req.Continue { // the offers of today fit into one
		t.Fatalf("%d bytes and more", s.req.DataLen)
	}
	s.o.send(Keys{{"X-a", strings.Repeat("b", 600)}}, true)
	if req, _ := s.o.emit(); !req.Continue || req.Transit || req.DataLen != 512 {
		t.Fatalf("%+v", req)
	}
	if err := s.raw("1", nil); err != nil || s.req.Continue || !s.req.Transit || s.req.DataLen != 605-512 {
		t.Fatalf("%+v, %v", s.req, err)
	}
	for stages, text := range map[string]string{"13": "", "1C": "", "1": "X-a=b"} {
		s := begin()
		s.o.send(Keys{{"X-a", strings.Repeat("b", 600)}}, true)
		s.o.emit()
		s.o.asked = true // as a target would have it
		s.fail(stages, text, "before the request was complete")
	}
}

// Whatever is offered, and however far the target goes along: the login ends
// with both sides of the same opinion, and within offers and limits.
func TestOriginatorAgreesWithLogin(t *testing.T) {
	digest := rapid.SampledFrom([][]string{{ValueNone}, {DigestCRC32C}, {ValueNone, DigestCRC32C}, {DigestCRC32C, ValueNone}})
	rapid.Check(t, func(t *rapid.T) {
		cfg, lc := originConfig(), loginConfig()
		length := rapid.Uint32Range(0, 1<<25)
		cfg.Offers = Offers{
			HeaderDigest: digest.Draw(t, "header digest"), DataDigest: digest.Draw(t, "data digest"),
			InitialR2T: rapid.Bool().Draw(t, "R2T"), ImmediateData: rapid.Bool().Draw(t, "immediate"),
			MaxRecv: rapid.IntRange(0, 1<<25).Draw(t, "receive"), MaxBurstLength: length.Draw(t, "burst"), FirstBurstLength: length.Draw(t, "first"),
			MaxOutstandingR2T: rapid.Uint16().Draw(t, "outstanding"), DefaultTime2Wait: rapid.Uint16().Draw(t, "wait"), DefaultTime2Retain: rapid.Uint16().Draw(t, "retain"),
		}
		lc.Limits = Limits{
			HeaderDigest: digest.Draw(t, "their header digest"), DataDigest: digest.Draw(t, "their data digest"), MaxConnections: rapid.Uint16Range(1, 9).Draw(t, "connections"),
			InitialR2T: rapid.Bool().Draw(t, "their R2T"), ImmediateData: rapid.Bool().Draw(t, "their immediate"),
			MaxRecv: rapid.IntRange(0, 1<<25).Draw(t, "their receive"), MaxBurstLength: length.Draw(t, "their burst"), FirstBurstLength: length.Draw(t, "their first"),
			MaxOutstandingR2T: rapid.Uint16().Draw(t, "their outstanding"), DefaultTime2Wait: rapid.Uint16Range(0, 3600).Draw(t, "their wait"), DefaultTime2Retain: rapid.Uint16().Draw(t, "their retain"),
			DataPDUInOrder: rapid.Bool().Draw(t, "PDUs in order"), DataSequenceInOrder: rapid.Bool().Draw(t, "sequences in order"),
		}
		cfg.Discovery = rapid.Bool().Draw(t, "discovery")
		if rapid.Bool().Draw(t, "instance") {
			cfg.Instance = san.Instance{Group: rapid.Uint64Min(1).Draw(t, "group"), Run: 1, Login: rapid.Uint32().Draw(t, "login")}
		}
		account := san.CHAP{User: "host", Secret: hostSecret}
		if rapid.Bool().Draw(t, "mutual") {
			account.MutualUser, account.MutualSecret = "disk", targetSecret
		}
		if rapid.Bool().Draw(t, "CHAP") {
			cfg.CHAP = &account
			lc = withAccount(lc, account)
		}
		lc.DiscoveryCHAP = rapid.Bool().Draw(t, "CHAP in discovery")
		o, l := NewOriginator(cfg), NewLogin(lc)
		err := login(t, o, l, nil)
		f := o.cfg.Offers
		for _, d := range [][2][]string{{f.HeaderDigest, lc.Limits.HeaderDigest}, {f.DataDigest, lc.Limits.DataDigest}} {
			common := slices.ContainsFunc(d[0], func(v string) bool { return slices.Contains(d[1], v) })
			if !common && !slices.Contains(d[0], ValueNone) {
				if err == nil {
					t.Fatalf("digests %v and %v agree", d[0], d[1])
				}
				return
			}
		}
		if err != nil {
			t.Fatalf("%v (target: %v)", err, l.Err())
		}
		agree(t, o, l)
		p := o.Outcome()
		if cfg.Discovery {
			if o.InstanceNoted() {
				t.Fatalf("an instance in a discovery session")
			}
			return
		}
		if o.InstanceNoted() != !cfg.Instance.IsZero() || l.Identity().Instance != cfg.Instance {
			t.Fatalf("instance %v, noted %v as %v", cfg.Instance, o.InstanceNoted(), l.Identity().Instance)
		}
		if p.MaxBurstLength > f.MaxBurstLength || p.FirstBurstLength > p.MaxBurstLength || p.MaxOutstandingR2T > f.MaxOutstandingR2T ||
			p.ImmediateData && !f.ImmediateData || !p.InitialR2T && f.InitialR2T || p.DefaultTime2Wait < f.DefaultTime2Wait ||
			p.DefaultTime2Retain > f.DefaultTime2Retain || p.MaxRecv != f.MaxRecv {
			t.Fatalf("%+v is more than %+v", p, f)
		}
	})
}

func withAccount(lc LoginConfig, a san.CHAP) LoginConfig {
	lc.Identify = func(Identity) ([]san.CHAP, LoginStatus) { return []san.CHAP{a}, LoginSuccess }
	return lc
}

// A target that answers whatever: one response per 0xff-separated chunk.
func FuzzOriginator(f *testing.F) {
	f.Add([]byte("\x81AuthMethod=None\x00\xff\x87MaxBurstLength=512\x00"), uint8(0))
	f.Add([]byte("\x00AuthMethod=CHAP\x00\xff\x00CHAP_A=7\x00CHAP_I=1\x00CHAP_C=0x01\x00\xff\x81CHAP_N=disk\x00CHAP_R=0x00\x00"), uint8(2))
	f.Add([]byte("\x00AuthMethod=CHAP\x00\xff\x00CHAP_A=5\x00CHAP_I=1\x00CHAP_C=0b/w==\x00\xff\x81\xff\x44HeaderDigest=\xff\x87None\x00"), uint8(1))
	f.Add([]byte("\x81\xff\x04X-a=b\x00MaxRecvDataSegmentLength=512\x00\xff\x87X-io.sango.Instance=NotUnderstood\x00"), uint8(4))
	f.Fuzz(func(t *testing.T, b []byte, how uint8) {
		cfg := originConfig()
		cfg.Discovery = how&8 != 0
		if how&4 != 0 {
			cfg.Instance = san.Instance{Group: 1}
		}
		if how&3 != 0 {
			cfg.CHAP = &san.CHAP{User: "host", Secret: hostSecret}
		}
		mutual := how&3 >= 2
		if mutual {
			cfg.CHAP.MutualSecret = targetSecret
		}
		o := NewOriginator(cfg)
		o.First()
		for _, chunk := range bytes.Split(b, []byte{0xff}) {
			if len(chunk) == 0 {
				continue
			}
			h := BHS{0: byte(OpLoginResponse), 1: chunk[0], 19: byte(cfg.ITT)}
			r, err := ParseLoginResponse(&h)
			if err != nil {
				t.Fatal(err)
			}
			req, out, err := o.Step(r, chunk[1:])
			if err != nil {
				if o.Done() || strings.Contains(err.Error(), hostSecret) || strings.Contains(err.Error(), targetSecret) {
					t.Fatalf("done %v, %v", o.Done(), err)
				}
				return
			}
			if o.Done() {
				if mutual {
					t.Fatal("done with a target that proved nothing")
				}
				p, f := o.Outcome(), o.cfg.Offers
				if p.MaxSend < minSegment || p.MaxSend > maxSegment || p.MaxBurstLength > f.MaxBurstLength || p.FirstBurstLength > p.MaxBurstLength ||
					p.MaxOutstandingR2T < 1 || p.MaxOutstandingR2T > f.MaxOutstandingR2T || p.ErrorRecoveryLevel != 0 || p.MaxConnections != 1 || !p.DataPDUInOrder {
					t.Fatalf("out of bounds: %+v", p)
				}
				return
			}
			if len(out) > min(o.neg.Params.MaxSend, LoginSegment) || req.DataLen != len(out) || req.Transit && req.Continue {
				t.Fatalf("%+v with %d bytes", req, len(out))
			}
		}
	})
}
