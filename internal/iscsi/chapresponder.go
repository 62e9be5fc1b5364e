package iscsi

import (
	"errors"
	"strconv"

	"sango/internal/san"
)

// errAuth ends a login with LoginAuthFailed. What exactly was wrong goes to
// the log, never to the peer.
type errAuth struct{ text string }

func (e *errAuth) Error() string { return "CHAP: " + e.text }

// Is implements errors.Is.
func (e *errAuth) Is(target error) bool { return target == ErrAuth }

// ErrAuth is what an Originator's login ended with where it was this side that
// was not content with the authentication: the target could not prove itself,
// or the account can't be used. A refusal by the target is a LoginError.
var ErrAuth = errors.New("authentication failed")

// chapState is how far the exchange has come.
type chapState uint8

const (
	chapStart     chapState = iota // AuthMethod=CHAP was agreed on
	chapChallenge                  // challenge sent
	chapDone                       // the initiator has proved itself
)

// chapResponder is the target's side of CHAP (RFC 7143 §12.1.3).
type chapResponder struct {
	accounts   []san.CHAP
	algorithms []CHAPAlgorithm
	challenger *Challenger

	state     chapState
	algorithm CHAPAlgorithm
	id        uint8
	challenge []byte
	user      string
}

// isCHAPKey reports whether key belongs to the exchange.
func isCHAPKey(key string) bool {
	switch key {
	case KeyCHAPAlgorithm, KeyCHAPIdentifier, KeyCHAPChallenge, KeyCHAPName, KeyCHAPResponse:
		return true
	}
	return false
}

// step takes the CHAP keys of one text and returns the target's. No keys at
// all leave the exchange where it is.
func (c *chapResponder) step(in Keys) (Keys, error) {
	if len(in) == 0 {
		return nil, nil
	}
	switch c.state {
	case chapStart:
		return c.offer(in)
	case chapChallenge:
		return c.verify(in)
	}
	return nil, &errAuth{"keys after the end of the exchange"}
}

// offer answers CHAP_A with the algorithm and the challenge.
func (c *chapResponder) offer(in Keys) (Keys, error) {
	list, ok := in.Get(KeyCHAPAlgorithm)
	if !ok || len(in) != 1 {
		return nil, &errAuth{"the exchange has to start with CHAP_A alone"}
	}
	if c.algorithm, ok = chooseCHAP(list, c.algorithms); !ok {
		return nil, &errAuth{"no algorithm of " + strconv.Quote(clip(list)) + " is accepted"}
	}
	c.challenge, c.id = c.challenger.Challenge()
	c.state = chapChallenge
	return Keys{
		{KeyCHAPAlgorithm, strconv.Itoa(int(c.algorithm))},
		{KeyCHAPIdentifier, strconv.Itoa(int(c.id))},
		{KeyCHAPChallenge, FormatBinary(c.challenge)},
	}, nil
}

// verify checks the initiator's response and, where it asks for that, proves
// the target's identity in turn.
func (c *chapResponder) verify(in Keys) (Keys, error) {
	// CHAP_N is plain text even when it looks like a number.
	user, hasUser := in.Get(KeyCHAPName)
	value, hasResponse := in.Get(KeyCHAPResponse)
	if !hasUser || !hasResponse {
		return nil, &errAuth{"CHAP_N or CHAP_R is missing"}
	}
	if _, ok := in.Get(KeyCHAPAlgorithm); ok {
		return nil, &errAuth{"CHAP_A came a second time"}
	}
	response, err := ParseBinary(value, c.algorithm.hash().Size())
	if err != nil {
		return nil, &errAuth{"CHAP_R: " + err.Error()}
	}
	account, ok := c.account(user, response)
	if !ok {
		return nil, &errAuth{"wrong name or secret for user " + strconv.Quote(clip(user))}
	}
	out, err := c.prove(in, account)
	if err != nil {
		return nil, err
	}
	c.user = user
	c.state = chapDone
	return out, nil
}

// account returns the account that response belongs to. All accounts are
// tried, so that the time taken does not tell which names exist.
func (c *chapResponder) account(user string, response []byte) (found san.CHAP, ok bool) {
	for _, a := range c.accounts {
		right := checkCHAP(c.algorithm, c.id, a.Secret, c.challenge, response)
		if right && a.User == user && a.Secret != "" && !ok {
			found, ok = a, true
		}
	}
	return found, ok
}

// prove answers CHAP_I and CHAP_C of a mutual exchange.
func (c *chapResponder) prove(in Keys, a san.CHAP) (Keys, error) {
	idText, hasID := in.Get(KeyCHAPIdentifier)
	text, hasChallenge := in.Get(KeyCHAPChallenge)
	if !hasID && !hasChallenge {
		return nil, nil
	}
	if !hasID || !hasChallenge {
		return nil, &errAuth{"CHAP_I and CHAP_C have to come together"}
	}
	id, challenge, err := c.challenger.parse(idText, text)
	if err != nil {
		return nil, err
	}
	if a.MutualSecret == "" {
		return nil, &errAuth{"user " + strconv.Quote(clip(a.User)) + " asks for mutual CHAP, but has no secret for it"}
	}
	if a.MutualSecret == a.Secret {
		return nil, &errAuth{"user " + strconv.Quote(clip(a.User)) + " has the same secret in both directions"}
	}
	return Keys{
		{KeyCHAPName, a.MutualUser},
		{KeyCHAPResponse, FormatBinary(CHAPResponse(c.algorithm, id, a.MutualSecret, challenge))},
	}, nil
}
