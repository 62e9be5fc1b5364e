package iscsi

import (
	"crypto/hmac"
	"crypto/md5" // #nosec: RFC 7143 §12.1.3 makes it mandatory
	"crypto/rand"
	"crypto/sha1" // #nosec: offered by initiators that lack better
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"fmt"
	"hash"
	"strings"
)

// CHAPAlgorithm is the number of a hash function (IANA "PPP Authentication
// Algorithms").
type CHAPAlgorithm uint8

// The algorithms that are served.
const (
	CHAPMD5     CHAPAlgorithm = 5
	CHAPSHA1    CHAPAlgorithm = 6
	CHAPSHA256  CHAPAlgorithm = 7
	CHAPSHA3256 CHAPAlgorithm = 8
)

// AllCHAPAlgorithms returns the algorithms that are served.
func AllCHAPAlgorithms() []CHAPAlgorithm {
	return []CHAPAlgorithm{CHAPSHA3256, CHAPSHA256, CHAPSHA1, CHAPMD5}
}

// String returns the usual name.
func (a CHAPAlgorithm) String() string {
	switch a {
	case CHAPMD5:
		return "MD5"
	case CHAPSHA1:
		return "SHA1"
	case CHAPSHA256:
		return "SHA-256"
	case CHAPSHA3256:
		return "SHA3-256"
	}
	return fmt.Sprintf("CHAP algorithm %d", uint8(a))
}

func (a CHAPAlgorithm) hash() hash.Hash {
	switch a {
	case CHAPMD5:
		return md5.New()
	case CHAPSHA1:
		return sha1.New()
	case CHAPSHA256:
		return sha256.New()
	case CHAPSHA3256:
		return sha3.New256()
	}
	return nil
}

// MaxChallenge is the longest challenge, in bytes (RFC 7143 §12.1.3).
const MaxChallenge = 1024

// CHAPResponse returns the answer to a challenge: hash(id ‖ secret ‖
// challenge) (RFC 1994 §4.1). It is nil for an algorithm that is not served.
func CHAPResponse(a CHAPAlgorithm, id uint8, secret string, challenge []byte) []byte {
	h := a.hash()
	if h == nil {
		return nil
	}
	h.Write([]byte{id})
	h.Write([]byte(secret))
	h.Write(challenge)
	return h.Sum(nil)
}

// checkCHAP reports in constant time whether got is the answer that secret
// gives.
func checkCHAP(a CHAPAlgorithm, id uint8, secret string, challenge, got []byte) bool {
	want := CHAPResponse(a, id, secret, challenge)
	return len(want) > 0 && subtle.ConstantTimeCompare(want, got) == 1
}

// chooseCHAP returns the first algorithm of an offered list (CHAP_A=8,7,5)
// that is among ours. Items that are no numbers are passed over.
func chooseCHAP(offer string, ours []CHAPAlgorithm) (CHAPAlgorithm, bool) {
	for len(offer) > 0 {
		var v string
		v, offer, _ = strings.Cut(offer, ",")
		n, err := ParseNumber(v)
		if err != nil {
			continue
		}
		for _, a := range ours {
			if n == uint64(a) && a.hash() != nil {
				return a, true
			}
		}
	}
	return 0, false
}

// Challenger makes challenges that it knows again, whichever connection they
// were made for. So a peer that sends one back, to have it answered for it by
// the other side (RFC 7143 §12.1.3), is found out without any record of what
// is outstanding. One value serves a whole target; it is safe for concurrent
// use.
type Challenger struct{ key [32]byte }

// challengeLen is a random half and a half that proves who made it.
const challengeLen = 32

// NewChallenger returns a Challenger with a random key.
func NewChallenger() *Challenger {
	c := new(Challenger)
	rand.Read(c.key[:]) // never fails: crypto/rand aborts the process instead
	return c
}

// Challenge returns a new challenge of 32 bytes and an identifier.
func (c *Challenger) Challenge() (challenge []byte, id uint8) {
	var r [challengeLen/2 + 1]byte
	rand.Read(r[:])
	challenge = append(make([]byte, 0, challengeLen), r[:challengeLen/2]...)
	return append(challenge, c.tag(challenge)...), r[challengeLen/2]
}

// Own reports whether b was made by Challenge.
func (c *Challenger) Own(b []byte) bool {
	return len(b) == challengeLen && hmac.Equal(b[challengeLen/2:], c.tag(b[:challengeLen/2]))
}

// parse reads CHAP_I and CHAP_C of a peer that wants a proof of us. Our own
// challenges are not answered: the answer would serve the peer as its proof.
func (c *Challenger) parse(idText, text string) (id uint8, challenge []byte, err error) {
	n, err := ParseNumber(idText)
	if err != nil || n > 255 {
		return 0, nil, &errAuth{"CHAP_I is not a number from 0 to 255"}
	}
	challenge, err = ParseBinary(text, MaxChallenge)
	if err != nil {
		return 0, nil, &errAuth{"CHAP_C: " + err.Error()}
	}
	if c.Own(challenge) {
		return 0, nil, &errAuth{"the peer sent one of our challenges back"}
	}
	return uint8(n), challenge, nil
}

func (c *Challenger) tag(r []byte) []byte {
	m := hmac.New(sha256.New, c.key[:])
	m.Write(r)
	return m.Sum(nil)[:challengeLen/2]
}
