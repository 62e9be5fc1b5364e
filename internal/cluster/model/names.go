package model

import "fmt"

// Instant is a moment on the monotonic clock of the one who runs a machine, in
// nanoseconds, or a span between two. Instants of two machines have nothing to
// do with each other, and never leave the machine.
type Instant int64

// Units of Instant.
const (
	Millisecond Instant = 1e6
	Second      Instant = 1e9
)

// never is an instant that does not come.
const never = Instant(1<<63 - 1)

// GatewayID is the name of a gateway. It stays when the gateway restarts.
type GatewayID string

// Incarnation counts the starts of all gateways of the cluster. Each start
// takes the next number, so that none is used twice, also where a gateway was
// removed and another has its name.
type Incarnation uint64

// Member is one start of a gateway. What was fenced stays fenced: a gateway
// that comes back is another member. The zero value is nobody.
type Member struct {
	Gateway     GatewayID
	Incarnation Incarnation
}

// IsZero reports whether m is nobody.
func (m Member) IsZero() bool { return m == Member{} }

// String returns the form name.incarnation.
func (m Member) String() string {
	if m.IsZero() {
		return "nobody"
	}
	return fmt.Sprintf("%s.%d", m.Gateway, m.Incarnation)
}

// Revision counts the transactions of the store. A record has the revision of
// the one that wrote it last; 0: there is no such record.
type Revision uint64
