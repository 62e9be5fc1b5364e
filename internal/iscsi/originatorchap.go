package iscsi

import (
	"strconv"
	"strings"
	"sync"

	"sango/internal/san"
)

// originChallenger makes the challenges of all logins of this process, so that
// one that comes back over another connection is known again.
var originChallenger = sync.OnceValue(NewChallenger)

// OriginCHAPAlgorithms returns the algorithms that an initiator offers by
// default. SHA-256 comes last, though not for its strength: tgt, and others of
// its descent, take its number for SHA-1, and refuse the login once they have
// chosen it.
func OriginCHAPAlgorithms() []CHAPAlgorithm {
	return []CHAPAlgorithm{CHAPSHA3256, CHAPSHA1, CHAPMD5, CHAPSHA256}
}

// authState is how far the initiator's security stage has come.
type authState uint8

const (
	authMethod    authState = iota // AuthMethod was offered
	authAlgorithm                  // CHAP_A was offered
	authResponse                   // the response was sent
	authDone                       // nothing is left to prove
)

// chapOriginator is the initiator's side of the security stage (RFC 7143
// §12.1.3).
type chapOriginator struct {
	account    *san.CHAP // nil: none
	algorithms []CHAPAlgorithm
	challenger *Challenger

	state     authState
	seen      Keys // what the target sent so far
	algorithm CHAPAlgorithm
	id        uint8
	challenge []byte
}

func (c *chapOriginator) mutual() bool {
	return c.account != nil && (c.account.MutualUser != "" || c.account.MutualSecret != "")
}

// check says whether the account can be used at all. No secret shows in the
// errors here.
func (c *chapOriginator) check() error {
	switch {
	case c.account == nil:
	case c.account.User == "" || c.account.Secret == "":
		return &errAuth{"the account needs a user and a secret"}
	case !c.mutual():
	case c.account.MutualSecret == "":
		return &errAuth{"the target shall prove itself, but there is no secret to hold it to"}
	case c.account.MutualSecret == c.account.Secret:
		// RFC 7143 §12.1.3: a target could have us answer our own challenges.
		return &errAuth{"the secrets of initiator and target are the same: give them different ones"}
	}
	if c.account != nil {
		if strings.IndexByte(c.account.User, 0) >= 0 {
			return &errAuth{"the user holds a NUL"}
		}
		for _, a := range c.algorithms {
			if a.hash() == nil {
				return &errAuth{a.String() + " is not served"}
			}
		}
		if len(c.algorithms) == 0 {
			return &errAuth{"no algorithm is left to offer"}
		}
	}
	return nil
}

// offer returns the AuthMethod to offer. A target need not want an account
// that we have; one that has to prove itself cannot do without.
func (c *chapOriginator) offer() string {
	switch {
	case c.account == nil:
		return ValueNone
	case c.mutual():
		return MethodCHAP
	}
	return MethodCHAP + "," + ValueNone
}

// split takes the keys of the security stage out of a text; each of them may
// come once, but for the CHAP_N, CHAP_I and such that either side sends.
func (c *chapOriginator) split(in Keys) (rest, own Keys, err error) {
	for _, p := range in {
		if p.Key != KeyAuthMethod && !isCHAPKey(p.Key) {
			rest = append(rest, p)
			continue
		}
		if _, again := c.seen.Get(p.Key); again {
			return nil, nil, protocolErrorf(RejectProtocol, "key %s came a second time", p.Key)
		}
		c.seen = append(c.seen, p)
		own = append(own, p)
	}
	return rest, own, nil
}

// step takes the security keys of one text and returns what to answer.
func (c *chapOriginator) step(in Keys) (Keys, error) {
	switch c.state {
	case authMethod:
		return c.begin(in)
	case authAlgorithm:
		return c.respond(in)
	case authResponse:
		return nil, c.verify(in)
	}
	if len(in) > 0 {
		return nil, &errAuth{"the target sent " + in[0].Key + " after the end of the exchange"}
	}
	return nil, nil
}

// begin takes the answer to AuthMethod.
func (c *chapOriginator) begin(in Keys) (Keys, error) {
	method, ok := in.Get(KeyAuthMethod)
	switch {
	case len(in) > 1 || len(in) == 1 && !ok:
		return nil, &errAuth{"the target sent more than its choice of AuthMethod"}
	case method == MethodCHAP && c.account != nil:
		var list []string
		for _, a := range c.algorithms {
			list = append(list, strconv.Itoa(int(a)))
		}
		c.state = authAlgorithm
		return Keys{{KeyCHAPAlgorithm, strings.Join(list, ",")}}, nil
	case (method == ValueNone || !ok) && !c.mutual():
		c.state = authDone
		return nil, nil
	case method == ValueNone || !ok:
		return nil, &errAuth{"the target does not prove itself: it wants no authentication"}
	}
	return nil, &errAuth{"to AuthMethod=" + c.offer() + " the target answered " + strconv.Quote(clip(method))}
}

// respond answers the target's challenge, and challenges it in turn.
func (c *chapOriginator) respond(in Keys) (Keys, error) {
	algorithm, ok := in.Get(KeyCHAPAlgorithm)
	if !ok {
		return nil, &errAuth{"the target did not answer CHAP_A"}
	}
	list := algorithm
	if strings.Contains(list, ",") {
		list = "" // one is to be chosen, not several
	}
	if c.algorithm, ok = chooseCHAP(list, c.algorithms); !ok {
		return nil, &errAuth{"of the algorithms that were offered the target chose " + strconv.Quote(clip(algorithm))}
	}
	idText, hasID := in.Get(KeyCHAPIdentifier)
	text, hasChallenge := in.Get(KeyCHAPChallenge)
	if !hasID || !hasChallenge || len(in) != 3 {
		return nil, &errAuth{"the target has to send CHAP_A, CHAP_I and CHAP_C together, and nothing else"}
	}
	id, challenge, err := c.challenger.parse(idText, text)
	if err != nil {
		return nil, err
	}
	// The target's name and response come under keys that it has not sent yet.
	c.state = authResponse
	out := Keys{
		{KeyCHAPName, c.account.User},
		{KeyCHAPResponse, FormatBinary(CHAPResponse(c.algorithm, id, c.account.Secret, challenge))},
	}
	if c.mutual() {
		c.challenge, c.id = c.challenger.Challenge()
		out.add(KeyCHAPIdentifier, strconv.Itoa(int(c.id)))
		out.add(KeyCHAPChallenge, FormatBinary(c.challenge))
	}
	return out, nil
}

// verify takes the target's proof. Without mutual authentication it is not
// looked at.
func (c *chapOriginator) verify(in Keys) error {
	c.state = authDone
	if !c.mutual() {
		return nil
	}
	user, hasUser := in.Get(KeyCHAPName)
	value, hasResponse := in.Get(KeyCHAPResponse)
	if !hasUser || !hasResponse {
		return &errAuth{"the target does not prove itself: CHAP_N or CHAP_R is missing"}
	}
	response, err := ParseBinary(value, c.algorithm.hash().Size())
	if err != nil {
		return &errAuth{"the target's CHAP_R is no binary value of the algorithm's length"}
	}
	if !checkCHAP(c.algorithm, c.id, c.account.MutualSecret, c.challenge, response) {
		return &errAuth{"the target does not prove itself: it has another secret"}
	}
	if c.account.MutualUser != "" && user != c.account.MutualUser {
		return &errAuth{"the target proves itself as " + strconv.Quote(clip(user)) + ", not as " + strconv.Quote(clip(c.account.MutualUser))}
	}
	return nil
}
