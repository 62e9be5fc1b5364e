package iscsi

import (
	"fmt"
	"strconv"

	"sango/internal/san"
)

// OriginatorConfig is what an Originator logs in as, to what, and how.
type OriginatorConfig struct {
	Initiator san.InitiatorPort
	Alias     string // InitiatorAlias to declare, if any
	Target    string // may be empty in a discovery session
	Discovery bool
	CID       uint16
	ITT       ITT
	CmdSN     CmdSN // of the first command in full feature phase
	// CHAP is the account to prove; nil: none. Where it has a MutualUser or a
	// MutualSecret, the target has to prove itself in turn.
	CHAP       *san.CHAP
	Algorithms []CHAPAlgorithm // that are offered, by preference; nil: OriginCHAPAlgorithms
	Challenger *Challenger     // nil: the one of the process
	Offers     Offers
	Instance   san.Instance // declared in a normal session unless zero
}

// LoginError is the answer of a target that refuses a login.
type LoginError struct {
	Status   LoginStatus
	Redirect []TargetAddress // with LoginMovedTemporarily and LoginMovedForGood
	Text     string          // what was refused
}

// Error implements error.
func (e *LoginError) Error() string {
	return fmt.Sprintf("%s: the target answered %04xh, %v", e.Text, uint16(e.Status), e.Status)
}

// Originator is the initiator's side of one connection's login phase (RFC 7143
// §6.3) as a machine: a response goes in, a request comes out. It opens a new
// session with every login, of one connection. It is not safe for concurrent
// use.
type Originator struct {
	cfg    OriginatorConfig
	neg    *Negotiation // takes what the target offers on its own
	auth   chapOriginator
	offer  []offered
	join   Joiner
	out    Splitter
	stage  Stage
	next   Stage
	want   bool // the text at hand ends with a wish to go on to next
	asked  bool // the last request had that wish
	pdus   int
	text   int
	reply  Keys // to what the target offered on its own
	expect StatSN
	tsih   uint16
	tpg    san.TPG
	hasTPG bool
	alias  string
	done   bool
	err    error

	instanceRefused bool
}

// NewOriginator starts a login.
func NewOriginator(cfg OriginatorConfig) *Originator {
	if cfg.Algorithms == nil {
		cfg.Algorithms = OriginCHAPAlgorithms()
	}
	if cfg.Challenger == nil {
		cfg.Challenger = originChallenger()
	}
	cfg.Offers.settle()
	o := &Originator{
		cfg:  cfg,
		neg:  NewNegotiation(cfg.Offers.limits()),
		auth: chapOriginator{account: cfg.CHAP, algorithms: cfg.Algorithms, challenger: cfg.Challenger},
		join: Joiner{Max: maxLoginText},
	}
	p := &o.neg.Params
	p.Discovery, p.InitiatorName, p.InitiatorAlias, p.TargetName = cfg.Discovery, cfg.Initiator.Name, cfg.Alias, cfg.Target
	o.err = o.auth.check()
	return o
}

// First returns the first request and its text, DataLen set. A configuration
// that cannot work shows as the error of the first Step.
func (o *Originator) First() (LoginRequest, []byte) {
	keys := Keys{{KeyInitiatorName, o.cfg.Initiator.Name}}
	if o.cfg.Alias != "" {
		keys.add(KeyInitiatorAlias, o.cfg.Alias)
	}
	if o.cfg.Target != "" {
		keys.add(KeyTargetName, o.cfg.Target)
	}
	kind := TypeNormal
	if o.cfg.Discovery {
		kind = TypeDiscovery
	}
	keys.add(KeySessionType, kind)
	keys.add(KeyAuthMethod, o.auth.offer())
	// With an account it is the target's choice how the stage goes on.
	o.send(keys, o.cfg.CHAP == nil)
	return o.emit()
}

// Step takes a Login Response with its data segment and returns the next
// request with its data segment, DataLen set. After Done there is none. An
// error ends the login, and the caller closes the connection; a *LoginError is
// the target's refusal.
func (o *Originator) Step(r LoginResponse, text []byte) (LoginRequest, []byte, error) {
	if o.err == nil {
		o.err = o.step(&r, text)
	}
	if o.err != nil {
		o.done = false
		return LoginRequest{}, nil, o.err
	}
	if o.done {
		return LoginRequest{}, nil, nil
	}
	req, seg := o.emit()
	return req, seg, nil
}

// Done reports whether the login phase is over with success.
func (o *Originator) Done() bool { return o.done }

// Outcome returns the parameters agreed on; valid after Done.
func (o *Originator) Outcome() Params { return o.neg.Outcome() }

// TSIH returns the target's handle of the session; valid after Done.
func (o *Originator) TSIH() uint16 { return o.tsih }

// TPG returns the portal group tag that the target declared, if it did.
func (o *Originator) TPG() (san.TPG, bool) { return o.tpg, o.hasTPG }

// TargetAlias returns the alias that the target declared, if any.
func (o *Originator) TargetAlias() string { return o.alias }

// CmdSN returns the number that the first command in full feature phase has
// to carry: a login request does not consume its own (RFC 7143 §11.12.8).
func (o *Originator) CmdSN() CmdSN { return o.cfg.CmdSN }

// ExpStatSN returns the status number that comes next.
func (o *Originator) ExpStatSN() StatSN { return o.expect }

// InstanceNoted reports whether the target took the declaration of the
// instance without a word, as one does that knows what it means. That it was
// noted for sure only page C0h tells (docs/fence.md).
func (o *Originator) InstanceNoted() bool {
	return o.done && o.declaresInstance() && !o.instanceRefused
}

func (o *Originator) declaresInstance() bool { return !o.cfg.Discovery && !o.cfg.Instance.IsZero() }

// send makes keys the text at hand; transit asks for the next stage with it.
func (o *Originator) send(keys Keys, transit bool) {
	o.out.Set(keys.Append(nil))
	o.want = transit
	o.next = Operational
	if o.stage == Operational {
		o.next = FullFeature
	}
}

// emit makes the request with the next part of the text at hand.
func (o *Originator) emit() (LoginRequest, []byte) {
	seg, more := o.out.Next(min(o.neg.Params.MaxSend, LoginSegment))
	o.asked = o.want && !more
	r := LoginRequest{
		Transit:    o.asked,
		Continue:   more,
		Current:    o.stage,
		VersionMax: Version,
		VersionMin: Version,
		ISID:       o.cfg.Initiator.ISID,
		ITT:        o.cfg.ITT,
		CID:        o.cfg.CID,
		CmdSN:      o.cfg.CmdSN,
		ExpStatSN:  o.expect,
		DataLen:    len(seg),
	}
	if r.Transit {
		r.Next = o.next
	}
	return r, seg
}

func (o *Originator) step(r *LoginResponse, data []byte) error {
	if o.done {
		return protocolErrorf(RejectProtocol, "a Login Response after the end of the login")
	}
	if err := o.check(r, data); err != nil {
		return err
	}
	o.expect = r.StatSN + 1
	if o.out.Pending() {
		if len(data) > 0 || r.Continue || r.Transit {
			return protocolErrorf(RejectProtocol, "the target answered before the request was complete")
		}
		return nil
	}
	text, complete, err := o.join.Add(data, r.Continue)
	if err != nil || !complete {
		return err // an empty request, with the same wish, asks for the rest
	}
	keys, err := ParseText(text)
	if err != nil {
		return err
	}
	out, err := o.take(keys)
	if err != nil {
		return err
	}
	return o.advance(r, out)
}

// check looks at everything of a response but its text.
func (o *Originator) check(r *LoginResponse, data []byte) error {
	o.pdus++
	o.text += len(data)
	switch {
	case o.pdus > maxLoginPDUs:
		return protocolErrorf(RejectLongOperation, "the login is not over after %d responses", maxLoginPDUs)
	case o.text > maxLoginText:
		return protocolErrorf(RejectLongOperation, "the target sent more than %d bytes of text in a login", maxLoginText)
	case r.ITT != o.cfg.ITT:
		return protocolErrorf(RejectProtocol, "a Login Response with task tag %#x, not %#x", uint32(r.ITT), uint32(o.cfg.ITT))
	case r.Status != LoginSuccess:
		return o.refused(r, data)
	case r.VersionActive != Version:
		return protocolErrorf(RejectProtocol, "the target speaks version %d of the protocol, we %d", r.VersionActive, Version)
	case r.Current != o.stage:
		return protocolErrorf(RejectProtocol, "a response in %v while the login is in %v", r.Current, o.stage)
	case r.Transit && r.Continue:
		return protocolErrorf(RejectProtocol, "T and C bit in one response")
	case r.Transit && !o.asked:
		return protocolErrorf(RejectProtocol, "the target goes on to %v unasked", r.Next)
	case r.Transit && r.Next != o.next:
		return protocolErrorf(RejectProtocol, "the target goes on to %v when asked for %v", r.Next, o.next)
	}
	return nil
}

// refused makes the error of a response that ends the login.
func (o *Originator) refused(r *LoginResponse, data []byte) error {
	e := &LoginError{Status: r.Status, Text: "login"}
	if o.cfg.Target != "" {
		e.Text += " to " + o.cfg.Target
	}
	e.Text += " as " + o.cfg.Initiator.Name
	if r.Status != LoginMovedTemporarily && r.Status != LoginMovedForGood {
		return e
	}
	keys, err := ParseText(data)
	if err != nil {
		return err
	}
	for _, p := range keys {
		if p.Key != KeyTargetAddress {
			continue
		}
		a, err := ParseTargetAddress(p.Value)
		if err != nil {
			return err
		}
		e.Redirect = append(e.Redirect, a)
	}
	if len(e.Redirect) == 0 {
		return protocolErrorf(RejectProtocol, "the target has moved, but does not say where to")
	}
	return e
}

// take takes one complete text, and returns the security keys to answer.
func (o *Originator) take(keys Keys) (Keys, error) {
	keys, own, err := o.auth.split(keys)
	if err != nil {
		return nil, err
	}
	phase := PhaseOperational
	var out Keys
	switch {
	case o.stage == Security:
		phase = PhaseSecurity
		if out, err = o.auth.step(own); err != nil {
			return nil, err
		}
	case len(own) > 0:
		return nil, protocolErrorf(RejectProtocol, "key %s after the security stage", own[0].Key)
	}
	var rest Keys
	for _, p := range keys {
		mine, err := o.declared(p)
		if err != nil {
			return nil, err
		}
		if mine {
			continue
		}
		if f := o.offeredKey(p.Key); f != nil {
			if err := settleOffer(f, p.Value); err != nil {
				return nil, err
			}
			continue
		}
		rest = append(rest, p)
	}
	reply, err := o.neg.Answer(rest, phase)
	if err != nil {
		return nil, err
	}
	if _, ok := reply.Get(KeyMaxRecvSegment); ok { // a declaration has no answer but Reject
		v, _ := rest.Get(KeyMaxRecvSegment)
		return nil, protocolErrorf(RejectProtocol, "the target declares %s=%s, which is out of range", KeyMaxRecvSegment, clip(v))
	}
	o.reply = append(o.reply, reply...)
	return out, nil
}

func (o *Originator) offeredKey(key string) *offered {
	for i := range o.offer {
		if o.offer[i].Key == key {
			return &o.offer[i]
		}
	}
	return nil
}

// advance decides what comes after a complete text: out are the security keys
// to send.
func (o *Originator) advance(r *LoginResponse, out Keys) error {
	if !r.Transit {
		out = append(out, o.reply...)
		o.reply = nil
		o.send(out, o.stage == Operational || o.auth.state == authDone || o.auth.state == authResponse)
		return nil
	}
	if r.Next == Operational {
		if o.auth.state != authDone {
			return &errAuth{"the target left the security stage before its end"}
		}
		o.stage = Operational
		o.send(o.operational(), true)
		return nil
	}
	// What the target offered on its own stays as it was: it did not wait for
	// our answers.
	for i := range o.offer {
		if f := &o.offer[i]; !f.answered {
			if err := f.stand("the target did not answer"); err != nil {
				return err
			}
		}
	}
	o.tsih, o.stage, o.done = r.TSIH, FullFeature, true
	return nil
}

// operational returns the text that opens the operational stage.
func (o *Originator) operational() Keys {
	keys := o.reply
	o.reply = nil
	o.offer = o.offers()
	for i := range o.offer {
		keys = append(keys, o.offer[i].Pair)
	}
	o.neg.Params.MaxRecv = o.cfg.Offers.MaxRecv
	keys.add(KeyMaxRecvSegment, strconv.Itoa(o.cfg.Offers.MaxRecv))
	if o.declaresInstance() {
		o.neg.Params.Instance = o.cfg.Instance
		keys.add(KeyInstance, "0x"+o.cfg.Instance.String())
	}
	return keys
}
