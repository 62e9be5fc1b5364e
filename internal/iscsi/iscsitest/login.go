package iscsitest

import (
	"fmt"
	"strconv"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// Login is how to log in. The zero value with the names is a normal session
// without authentication, at the key's defaults.
type Login struct {
	Initiator string
	ISID      san.ISID
	Target    string // not for a discovery session
	Discovery bool
	TSIH      uint16
	// Account makes the login start in the security stage with CHAP, mutual
	// where it has a MutualSecret. Algorithms is CHAP_A, "7" where empty.
	Account    *san.CHAP
	Algorithms string
	// Keys are the operational keys to send. What the target declares besides
	// is taken note of.
	Keys iscsi.Keys
}

// LoginError is a login that the target refused.
type LoginError struct{ Status iscsi.LoginStatus }

// Error implements error.
func (e *LoginError) Error() string {
	return fmt.Sprintf("iscsitest: the login was refused: %v (%04xh)", e.Status, uint16(e.Status))
}

// Login logs in.
func (c *Conn) Login(l Login) error {
	first := iscsi.Keys{{Key: iscsi.KeyInitiatorName, Value: l.Initiator}}
	if l.Discovery {
		first = append(first, iscsi.Pair{Key: iscsi.KeySessionType, Value: iscsi.TypeDiscovery})
	}
	if l.Target != "" {
		first = append(first, iscsi.Pair{Key: iscsi.KeyTargetName, Value: l.Target})
	}
	c.Params.Discovery, c.Params.InitiatorName, c.Params.TargetName = l.Discovery, l.Initiator, l.Target
	r := iscsi.LoginRequest{ISID: l.ISID, TSIH: l.TSIH, CID: c.CID, ITT: c.ITT(), CmdSN: c.CmdSN}
	if l.Account != nil {
		if err := c.chap(r, l, first); err != nil {
			return err
		}
		first = nil
	}
	r.Current, r.Transit, r.Next = iscsi.Operational, true, iscsi.FullFeature
	for {
		resp, keys, err := c.LoginStep(r, append(first, l.Keys...))
		if err != nil {
			return err
		}
		if err := c.settle(l.Keys, keys); err != nil {
			return err
		}
		if resp.Transit {
			c.TSIH = resp.TSIH
			c.HeaderDigest, c.DataDigest = c.Params.HeaderDigest, c.Params.DataDigest
			return nil
		}
		first, l.Keys = nil, nil
	}
}

// LoginStep sends one Login Request with keys and returns the answer, which
// is put together where the target splits it. A status other than success is a
// *LoginError.
func (c *Conn) LoginStep(r iscsi.LoginRequest, keys iscsi.Keys) (iscsi.LoginResponse, iscsi.Keys, error) {
	data := keys.Append(nil)
	var text []byte
	for {
		resp, part, err := c.LoginRaw(r, data)
		if err != nil {
			return resp, nil, err
		}
		text, data = append(text, part...), nil
		if resp.Continue {
			continue
		}
		keys, err := iscsi.ParseText(text)
		return resp, keys, err
	}
}

// LoginRaw sends one Login Request with data as it is and returns the next
// PDU, which has to be a Login Response.
func (c *Conn) LoginRaw(r iscsi.LoginRequest, data []byte) (iscsi.LoginResponse, []byte, error) {
	r.ExpStatSN = c.ExpStatSN
	r.DataLen = len(data)
	var h iscsi.BHS
	r.Put(&h)
	if err := c.Send(&h, data); err != nil {
		return iscsi.LoginResponse{}, nil, err
	}
	p, err := c.Receive()
	if err != nil {
		return iscsi.LoginResponse{}, nil, err
	}
	resp, err := iscsi.ParseLoginResponse(&p.BHS)
	if err != nil {
		return resp, nil, err
	}
	if resp.Status != iscsi.LoginSuccess {
		return resp, p.Data, &LoginError{resp.Status}
	}
	return resp, p.Data, nil
}

// chap goes through the security stage.
func (c *Conn) chap(r iscsi.LoginRequest, l Login, keys iscsi.Keys) error {
	r.Current = iscsi.Security
	_, answer, err := c.LoginStep(r, append(keys, iscsi.Pair{Key: iscsi.KeyAuthMethod, Value: "CHAP,None"}))
	if err != nil {
		return err
	}
	r.Transit, r.Next = true, iscsi.Operational
	if v, _ := answer.Get(iscsi.KeyAuthMethod); v != iscsi.MethodCHAP {
		return fmt.Errorf("iscsitest: the target chose AuthMethod=%s", v)
	}
	offer := l.Algorithms
	if offer == "" {
		offer = "7"
	}
	if _, answer, err = c.LoginStep(r, iscsi.Keys{{Key: iscsi.KeyCHAPAlgorithm, Value: offer}}); err != nil {
		return err
	}
	v, _ := answer.Get(iscsi.KeyCHAPAlgorithm)
	algorithm, err := strconv.ParseUint(v, 10, 8)
	if err != nil {
		return fmt.Errorf("iscsitest: CHAP_A: %w", err)
	}
	v, _ = answer.Get(iscsi.KeyCHAPIdentifier)
	id, err := strconv.ParseUint(v, 10, 8)
	if err != nil {
		return fmt.Errorf("iscsitest: CHAP_I: %w", err)
	}
	v, _ = answer.Get(iscsi.KeyCHAPChallenge)
	challenge, err := iscsi.ParseBinary(v, iscsi.MaxChallenge)
	if err != nil {
		return fmt.Errorf("iscsitest: CHAP_C: %w", err)
	}
	a := iscsi.CHAPAlgorithm(algorithm)
	proof := iscsi.Keys{
		{Key: iscsi.KeyCHAPName, Value: l.Account.User},
		{Key: iscsi.KeyCHAPResponse, Value: iscsi.FormatBinary(iscsi.CHAPResponse(a, uint8(id), l.Account.Secret, challenge))},
	}
	mine := []byte("a challenge of the initiator")
	if l.Account.MutualSecret != "" {
		proof = append(proof, iscsi.Pair{Key: iscsi.KeyCHAPIdentifier, Value: "66"}, iscsi.Pair{Key: iscsi.KeyCHAPChallenge, Value: iscsi.FormatBinary(mine)})
	}
	resp, answer, err := c.LoginStep(r, proof)
	if err != nil {
		return err
	}
	if !resp.Transit {
		return fmt.Errorf("iscsitest: the target does not leave the security stage")
	}
	if l.Account.MutualSecret == "" {
		return nil
	}
	want := iscsi.Keys{
		{Key: iscsi.KeyCHAPName, Value: l.Account.MutualUser},
		{Key: iscsi.KeyCHAPResponse, Value: iscsi.FormatBinary(iscsi.CHAPResponse(a, 66, l.Account.MutualSecret, mine))},
	}
	for _, p := range want {
		if v, _ := answer.Get(p.Key); v != p.Value {
			return fmt.Errorf("iscsitest: the target answered %s=%s, want %s", p.Key, v, p.Value)
		}
	}
	return nil
}

// settle takes what the target answered and declared into Params.
func (c *Conn) settle(offered, answers iscsi.Keys) error {
	if v, ok := offered.Get(iscsi.KeyMaxRecvSegment); ok {
		n, err := iscsi.ParseNumber(v)
		if err != nil {
			return err
		}
		c.Params.MaxRecv = int(n)
	}
	p := &c.Params
	for _, a := range answers {
		if a.Value == iscsi.ValueReject || a.Value == iscsi.ValueIrrelevant || a.Value == iscsi.ValueNotUnderstood {
			continue
		}
		n, _ := iscsi.ParseNumber(a.Value)
		yes := a.Value == iscsi.ValueYes
		crc := a.Value == iscsi.DigestCRC32C
		switch a.Key {
		case iscsi.KeyHeaderDigest:
			p.HeaderDigest = crc
		case iscsi.KeyDataDigest:
			p.DataDigest = crc
		case iscsi.KeyMaxConnections:
			p.MaxConnections = uint16(n)
		case iscsi.KeyInitialR2T:
			p.InitialR2T = yes
		case iscsi.KeyImmediateData:
			p.ImmediateData = yes
		case iscsi.KeyMaxRecvSegment:
			p.MaxSend = int(n)
		case iscsi.KeyMaxBurst:
			p.MaxBurstLength = uint32(n)
		case iscsi.KeyFirstBurst:
			p.FirstBurstLength = uint32(n)
		case iscsi.KeyMaxOutstandingR2T:
			p.MaxOutstandingR2T = uint16(n)
		case iscsi.KeyErrorRecoveryLevel:
			p.ErrorRecoveryLevel = uint8(n)
		}
	}
	p.FirstBurstLength = min(p.FirstBurstLength, p.MaxBurstLength)
	return nil
}
