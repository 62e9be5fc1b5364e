package relay

import (
	"sync"
	"time"
)

// tokens are the last heartbeats of an owner, with the time at which they came
// (DESIGN R4 c): a command gets the one that was there when the last of it, and
// of its data-out, arrived. As that moment is one before which the socket was
// empty, and a token is there only when it has been read, a front that stood
// still in between gives an old one.
type tokens struct {
	mu   sync.Mutex // guards the fields below
	ring [tokenRing]token
	n    int // that came; the last is ring[(n-1) % tokenRing]
}

// tokenRing tokens, one every 200 ms at most, are those of six seconds: longer
// than a command may wait.
const (
	tokenRing = 32
	tokenGap  = 200 * time.Millisecond
)

type token struct {
	stamp uint64
	at    time.Time
}

// add notes a token that came at the time at. Several links bring them.
func (k *tokens) add(stamp uint64, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.n > 0 {
		last := &k.ring[(k.n-1)%tokenRing]
		if stamp <= last.stamp || at.Sub(last.at) < tokenGap {
			return
		}
	}
	k.ring[k.n%tokenRing] = token{stamp, at}
	k.n++
}

// before returns the last token that had come at the time at.
func (k *tokens) before(at time.Time) (uint64, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := k.n - 1; i >= 0 && i >= k.n-tokenRing; i-- {
		if t := &k.ring[i%tokenRing]; !t.at.After(at) {
			return t.stamp, true
		}
	}
	return 0, false
}

// last returns the newest token.
func (k *tokens) last() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.n == 0 {
		return 0
	}
	return k.ring[(k.n-1)%tokenRing].stamp
}
