package iscsi

import (
	"errors"
	"fmt"
	"net/netip"

	"sango/internal/san"
)

// The bounds of a login.
const (
	// maxLoginText is the text that one login may bring in all, in bytes.
	maxLoginText = 64 << 10
	// maxLoginPDUs is the number of requests that one login may take.
	maxLoginPDUs = 64
)

// Identity is who logs in to what, as it says itself.
type Identity struct {
	Initiator san.InitiatorPort
	Alias     string // InitiatorAlias, if it came with the first text
	Target    string // empty in a discovery session, as a rule
	Discovery bool
	TSIH      uint16 // 0: a new session
	CID       uint16
	// Instance is what a normal session declares itself to be (docs/fence.md),
	// known once the operational stage brought it; not when Identify is called.
	Instance san.Instance
}

// LoginConfig is what a Login needs of the target.
type LoginConfig struct {
	TPG        san.TPG // portal group tag of the portal that was connected to
	Alias      string  // TargetAlias to declare, if any
	Limits     Limits
	Challenger *Challenger     // the server's; nil: one for this login only
	Algorithms []CHAPAlgorithm // that are accepted; nil: all
	// Identify is called once, when the names are known. It returns the accounts
	// of which the initiator has to use one (none: no authentication), and
	// LoginSuccess, or why the login ends here.
	Identify func(Identity) ([]san.CHAP, LoginStatus)
	// DiscoveryCHAP makes a discovery session use one of its accounts. Without
	// it, the initiator chooses: it is held to CHAP where it prefers that.
	DiscoveryCHAP bool
}

// Login is the target's side of one connection's login phase (RFC 7143 §6.3)
// as a machine: a request goes in, a response comes out. It is not safe for
// concurrent use.
type Login struct {
	cfg  LoginConfig
	neg  *Negotiation
	join Joiner
	out  Splitter

	started    bool
	identified bool
	stage      Stage
	isid       san.ISID
	tsih, cid  uint16
	identity   Identity
	pdus, text int
	statSN     StatSN
	cmdSN      CmdSN
	security   security
	pending    *grant // what the response whose text is being handed out will grant
	err        error
	done       bool
}

// grant is the stage change that ends a response.
type grant struct {
	transit bool
	next    Stage
}

// NewLogin starts a login.
func NewLogin(cfg LoginConfig) *Login {
	if cfg.Algorithms == nil {
		cfg.Algorithms = AllCHAPAlgorithms()
	}
	if cfg.Challenger == nil {
		cfg.Challenger = NewChallenger()
	}
	return &Login{cfg: cfg, neg: NewNegotiation(cfg.Limits), join: Joiner{Max: maxLoginText}}
}

// Step takes a Login Request with its data segment and returns the response
// with its data segment, DataLen set. The caller fills in MaxCmdSN.
//
// While Done and Err both say nothing the login goes on. After Done the
// response in hand is the last one: the caller sets its TSIH and sends it, or
// sends what Refuse makes of it. After Err its status is not success, and the
// caller closes the connection once it is sent.
func (l *Login) Step(r LoginRequest, data []byte) (LoginResponse, []byte) {
	resp := LoginResponse{
		Current:       r.Current,
		VersionMax:    Version,
		VersionActive: Version,
		ISID:          r.ISID,
		TSIH:          r.TSIH,
		ITT:           r.ITT,
		StatSN:        l.statSN,
		ExpCmdSN:      r.CmdSN,
	}
	l.statSN++
	text, err := l.step(&r, data, &resp)
	if err != nil {
		if l.err == nil {
			l.err = err
		}
		return l.fail(resp, statusOf(err)), nil
	}
	resp.DataLen = len(text)
	return resp, text
}

// Done reports whether the login phase is over with success.
func (l *Login) Done() bool { return l.done }

// Err returns why the login failed, nil while it has not: for the log, since
// it may tell more than the peer should know.
func (l *Login) Err() error { return l.err }

// Outcome returns the parameters agreed on; valid after Done.
func (l *Login) Outcome() Params { return l.neg.Outcome() }

// Identity returns who logs in; valid once Identify was called.
func (l *Login) Identity() Identity { return l.identity }

// User returns the CHAP account that was used, empty without authentication.
func (l *Login) User() string { return l.security.chap.user }

// StatSN returns the status number that follows the responses so far.
func (l *Login) StatSN() StatSN { return l.statSN }

// CmdSN returns the number that the first command in full feature phase will
// carry: a login request does not consume its own (RFC 7143 §11.12.8).
func (l *Login) CmdSN() CmdSN { return l.cmdSN }

// Refuse turns a response of Step into one that ends the login with status,
// for failures outside of the machine such as a lack of resources.
func (l *Login) Refuse(resp LoginResponse, status LoginStatus) LoginResponse {
	l.done = false
	l.err = &loginError{status, status.String()}
	return l.fail(resp, status)
}

// Redirect turns a response of Step into one that ends the login with
// LoginMovedTemporarily, and returns its text: the initiator is to log in at
// addr, this time (RFC 7143 §11.13.5).
func (l *Login) Redirect(resp LoginResponse, addr netip.AddrPort) (LoginResponse, []byte) {
	resp = l.Refuse(resp, LoginMovedTemporarily)
	text := Keys{{KeyTargetAddress, addr.String()}}.Append(nil)
	resp.DataLen = len(text)
	return resp, text
}

func (l *Login) fail(resp LoginResponse, status LoginStatus) LoginResponse {
	resp.Transit, resp.Continue, resp.Next = false, false, 0
	resp.Status, resp.DataLen = status, 0
	return resp
}

// loginError ends a login with a status.
type loginError struct {
	status LoginStatus
	text   string
}

func (e *loginError) Error() string {
	return fmt.Sprintf("login refused with status %04xh: %s", uint16(e.status), e.text)
}

func loginErrorf(s LoginStatus, format string, args ...any) error {
	return &loginError{s, fmt.Sprintf(format, args...)}
}

// statusOf maps an error of the machine to the status to answer with.
func statusOf(err error) LoginStatus {
	var (
		login    *loginError
		protocol *ProtocolError
		auth     *errAuth
	)
	switch {
	case errors.As(err, &login):
		return login.status
	case errors.As(err, &auth):
		return LoginAuthFailed
	case errors.As(err, &protocol) && protocol.Reason == RejectLongOperation:
		return LoginOutOfResources
	}
	return LoginInitiatorError
}

func (l *Login) step(r *LoginRequest, data []byte, resp *LoginResponse) ([]byte, error) {
	if l.done || l.err != nil {
		return nil, loginErrorf(LoginInvalidRequest, "a Login Request after the end of the login")
	}
	if err := l.check(r, len(data)); err != nil {
		return nil, err
	}
	if l.out.Pending() { // the initiator asks for the rest of our text
		if len(data) > 0 || r.Continue {
			return nil, loginErrorf(LoginInitiatorError, "text while the response is not complete")
		}
		if g := l.pending; g != nil && (!r.Transit || r.Next != g.next) {
			g.transit = false // T is answered only where it is asked for
		}
		return l.emit(resp), nil
	}
	text, complete, err := l.join.Add(data, r.Continue)
	if err != nil {
		return nil, err
	}
	if !complete {
		return nil, nil // RFC 7143 §6.2: an empty response asks for the rest
	}
	keys, err := ParseText(text)
	if err != nil {
		return nil, err
	}
	answers, err := l.exchange(r, keys)
	if err != nil {
		return nil, err
	}
	l.out.Set(answers.Append(nil))
	return l.emit(resp), nil
}

// check looks at everything of a request but its text.
func (l *Login) check(r *LoginRequest, n int) error {
	l.pdus++
	l.text += n
	switch {
	case l.pdus > maxLoginPDUs:
		return loginErrorf(LoginInitiatorError, "more than %d Login Requests", maxLoginPDUs)
	case l.text > maxLoginText:
		return loginErrorf(LoginOutOfResources, "more than %d bytes of text", maxLoginText)
	case r.VersionMin > Version:
		return loginErrorf(LoginBadVersion, "the initiator wants at least version %d", r.VersionMin)
	case r.Transit && r.Continue:
		return loginErrorf(LoginInitiatorError, "T and C bit in one request")
	case r.Current != Security && r.Current != Operational:
		return loginErrorf(LoginInitiatorError, "a request in %v", r.Current)
	case r.Transit && (r.Next <= r.Current || r.Next != Operational && r.Next != FullFeature):
		return loginErrorf(LoginInitiatorError, "a transition from %v to %v", r.Current, r.Next)
	}
	if !l.started {
		l.started = true
		l.stage, l.isid, l.tsih, l.cid, l.cmdSN = r.Current, r.ISID, r.TSIH, r.CID, r.CmdSN
		return nil
	}
	switch {
	case r.Current != l.stage:
		return loginErrorf(LoginInitiatorError, "a request in %v while the login is in %v", r.Current, l.stage)
	case r.ISID != l.isid, r.TSIH != l.tsih, r.CID != l.cid:
		return loginErrorf(LoginInitiatorError, "ISID, TSIH or CID changed during the login")
	}
	return nil
}

// exchange takes one complete text and returns the answer to it. It sets
// l.pending to the stage change to grant.
func (l *Login) exchange(r *LoginRequest, keys Keys) (Keys, error) {
	var out Keys
	if !l.identified {
		if err := l.identify(keys); err != nil {
			return nil, err
		}
		if !l.identity.Discovery {
			// RFC 7143 §13.9: in the first response that may carry text.
			out.add(KeyTargetPortalGroupTag, fmt.Sprint(uint16(l.cfg.TPG)))
		}
		if l.cfg.Alias != "" && !l.identity.Discovery {
			out.add(KeyTargetAlias, l.cfg.Alias)
		}
	} else {
		var err error
		if keys, err = l.repeated(keys); err != nil {
			return nil, err
		}
	}
	keys, own, err := l.security.split(keys)
	if err != nil {
		return nil, err
	}
	phase := PhaseOperational
	if l.stage == Security {
		phase = PhaseSecurity
	}
	answers, err := l.security.step(l.stage, own)
	if err != nil {
		return nil, err
	}
	out = append(out, answers...)
	if answers, err = l.neg.Answer(keys, phase); err != nil {
		return nil, err
	}
	out = append(out, answers...)
	if err := l.required(keys, answers); err != nil {
		return nil, err
	}
	l.identity.Instance = l.neg.Params.Instance
	g := grant{transit: r.Transit, next: r.Next}
	if g.transit && l.stage == Security {
		ready, err := l.security.ready()
		if err != nil {
			return nil, err
		}
		g.transit = ready
	}
	if l.stage == Operational || g.transit && g.next == FullFeature {
		out = l.neg.Declare(out)
	}
	l.pending = &g
	return out, nil
}

// required refuses a login whose declarations the negotiation could not take:
// nothing else can be put in their place.
func (l *Login) required(keys, answers Keys) error {
	for _, k := range []string{KeyMaxRecvSegment, KeyInstance} {
		if v, ok := answers.Get(k); ok && v == ValueReject {
			offer, _ := keys.Get(k)
			return loginErrorf(LoginInitiatorError, "%s=%s is out of range, or of another form", k, clip(offer))
		}
	}
	return nil
}

// emit hands out the next part of the text at hand and, with the last one,
// the stage change.
func (l *Login) emit(resp *LoginResponse) []byte {
	seg, more := l.out.Next(l.neg.Params.MaxSend)
	resp.Continue = more
	if more || l.pending == nil {
		return seg
	}
	if l.pending.transit {
		resp.Transit, resp.Next = true, l.pending.next
		l.stage = l.pending.next
		l.done = l.stage == FullFeature
	}
	l.pending = nil
	return seg
}
