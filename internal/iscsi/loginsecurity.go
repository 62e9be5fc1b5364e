package iscsi

import "strings"

// security is the security stage of a login.
type security struct {
	chap     chapResponder
	optional bool   // the initiator may do without
	method   string // AuthMethod agreed on, empty before
	seen     []string
}

// split takes the keys of the security stage out of a text; each of them may
// come once in a login.
func (s *security) split(in Keys) (rest, own Keys, err error) {
	for _, p := range in {
		if p.Key != KeyAuthMethod && !isCHAPKey(p.Key) {
			rest = append(rest, p)
			continue
		}
		for _, k := range s.seen {
			if k == p.Key {
				return nil, nil, protocolErrorf(RejectProtocol, "key %s came a second time", p.Key)
			}
		}
		s.seen = append(s.seen, p.Key)
		own = append(own, p)
	}
	return rest, own, nil
}

// step takes security keys and returns the answers.
func (s *security) step(stage Stage, in Keys) (Keys, error) {
	if len(in) == 0 {
		return nil, nil
	}
	if stage != Security {
		return nil, loginErrorf(LoginInitiatorError, "key %s after the security stage", in[0].Key)
	}
	var out Keys
	var rest Keys
	for _, p := range in {
		if p.Key != KeyAuthMethod {
			rest = append(rest, p)
			continue
		}
		var ours []string
		if len(s.chap.accounts) > 0 {
			ours = append(ours, MethodCHAP)
		}
		if s.optional {
			ours = append(ours, ValueNone)
		}
		method, err := choose(p.Value, ours)
		if err != nil {
			return nil, &errAuth{"of AuthMethod " + clip(p.Value) + ", " + strings.Join(ours, " or ") + " is wanted"}
		}
		s.method = method
		out.add(KeyAuthMethod, method)
	}
	if len(rest) == 0 {
		return out, nil
	}
	if s.method != MethodCHAP {
		return nil, loginErrorf(LoginInitiatorError, "key %s, but CHAP was not agreed on", rest[0].Key)
	}
	answers, err := s.chap.step(rest)
	return append(out, answers...), err
}

// ready reports whether the initiator may leave the stage. It is an error to
// want that without having offered any method where one is required.
func (s *security) ready() (bool, error) {
	if s.optional && s.method != MethodCHAP {
		return true, nil
	}
	if s.method == "" {
		return false, &errAuth{"the initiator offered no AuthMethod"}
	}
	return s.chap.state == chapDone, nil
}
