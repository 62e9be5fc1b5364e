package iscsi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Phase is where in the life of a session text is exchanged.
type Phase uint8

// The phases.
const (
	PhaseSecurity Phase = iota
	PhaseOperational
	PhaseFull
)

// maxUnknown is the number of keys that are answered NotUnderstood in one
// negotiation; the next one ends it. It bounds how much more text goes out
// than came in.
const maxUnknown = 64

// Negotiation is the responder's side of text negotiation (RFC 7143 §6.2): it
// takes offers and declarations and makes answers. It keeps to itself which
// keys were seen, so one value serves one login, or one text exchange in full
// feature phase. It is not safe for concurrent use.
type Negotiation struct {
	Params  Params // the outcome so far
	limits  Limits
	seen    map[string]bool
	unknown int
}

// NewNegotiation starts the negotiation of a login with all keys at their
// defaults.
func NewNegotiation(l Limits) *Negotiation {
	n := &Negotiation{Params: DefaultParams(), limits: l, seen: make(map[string]bool)}
	n.limits.MaxRecv = min(max(l.MaxRecv, minSegment), maxSegment)
	return n
}

// Renegotiate starts an exchange in full feature phase from the parameters in
// force.
func Renegotiate(p Params) *Negotiation {
	return &Negotiation{Params: p, seen: make(map[string]bool)}
}

// Answer takes the keys of one complete text and returns the answers to them,
// in the same order; declarations get none. An error ends the negotiation: a
// key that came before, that may not come in this phase of the login, or an
// answer nobody asked for. A value that is not admissible is answered Reject
// and changes nothing.
//
// Keys of the security stage and SendTargets are not for it: the caller takes
// them out first.
func (n *Negotiation) Answer(in Keys, at Phase) (Keys, error) {
	var out Keys
	first := -1
	for _, p := range in {
		spec := lookup(p.Key)
		if spec != nil && spec.target && reserved(p.Value) {
			continue // our own declaration was not understood: as it likes
		}
		if n.seen[p.Key] {
			return nil, protocolErrorf(RejectProtocol, "key %s came a second time", p.Key)
		}
		n.seen[p.Key] = true
		if spec == nil {
			if n.unknown++; n.unknown > maxUnknown {
				return nil, protocolErrorf(RejectLongOperation, "more than %d unknown keys", maxUnknown)
			}
			out.add(p.Key, ValueNotUnderstood)
			continue
		}
		if reserved(p.Value) {
			return nil, protocolErrorf(RejectProtocol, "key %s offers the reserved value %s", p.Key, p.Value)
		}
		if !spec.allowed(at) {
			if at == PhaseFull {
				out.add(p.Key, ValueReject) // only what may change now is taken (RFC 7143 §13)
				continue
			}
			return nil, protocolErrorf(RejectProtocol, "key %s may not come in this stage", p.Key)
		}
		answer := n.answer(spec, p.Value)
		if answer == "" {
			continue
		}
		if p.Key == KeyFirstBurst {
			first = len(out)
		}
		out.add(p.Key, answer)
	}
	if first >= 0 {
		n.settleFirstBurst(&out[first])
	}
	return out, nil
}

// answer returns the answer to one key, "" for none.
func (n *Negotiation) answer(spec *keySpec, v string) string {
	if n.Params.Discovery && spec.normal {
		return ValueIrrelevant
	}
	if spec.target || len(v) > MaxValue {
		return ValueReject
	}
	answer, err := spec.take(n, v)
	if err != nil {
		return ValueReject
	}
	return answer
}

// settleFirstBurst corrects the answer to FirstBurstLength once the other keys
// of the same text are known: it depends on three of them (RFC 7143 §13.14).
func (n *Negotiation) settleFirstBurst(p *Pair) {
	if reserved(p.Value) {
		return
	}
	if n.Params.InitialR2T && !n.Params.ImmediateData {
		p.Value = ValueIrrelevant
		return
	}
	if n.Params.FirstBurstLength > n.Params.MaxBurstLength {
		n.Params.FirstBurstLength = n.Params.MaxBurstLength
		p.Value = strconv.FormatUint(uint64(n.Params.FirstBurstLength), 10)
	}
}

// Outcome returns the parameters in force when the negotiation has ended.
func (n *Negotiation) Outcome() Params {
	p := n.Params
	p.FirstBurstLength = min(p.FirstBurstLength, p.MaxBurstLength)
	return p
}

// Declare appends the target's own declaration of MaxRecvDataSegmentLength to
// out, once.
func (n *Negotiation) Declare(out Keys) Keys {
	if n.limits.MaxRecv == 0 || n.Params.MaxRecv == n.limits.MaxRecv {
		return out // nothing to say, said, or the default
	}
	n.Params.MaxRecv = n.limits.MaxRecv
	return append(out, Pair{KeyMaxRecvSegment, strconv.Itoa(n.limits.MaxRecv)})
}

// number takes an offer between lo and hi and settles it with ours by f, which
// is the key's result function (min or max).
func number[T uint8 | uint16 | uint32](v string, lo, hi uint64, ours T, f func(a, b uint64) uint64, to *T) (string, error) {
	x, err := ParseNumber(v)
	if err != nil {
		return "", err
	}
	if x < lo || x > hi {
		return "", fmt.Errorf("%d is outside %d to %d: %w", x, lo, hi, ErrValue)
	}
	x = max(f(x, uint64(ours)), lo)
	*to = T(x)
	return strconv.FormatUint(x, 10), nil
}

func lower(a, b uint64) uint64  { return min(a, b) }
func higher(a, b uint64) uint64 { return max(a, b) }

// boolean takes an offer and settles it with ours by f (AND or OR).
func boolean(v string, ours bool, f func(a, b bool) bool, to *bool) (string, error) {
	b, err := ParseBool(v)
	if err != nil {
		return "", err
	}
	*to = f(b, ours)
	return FormatBool(*to), nil
}

func and(a, b bool) bool { return a && b }
func or(a, b bool) bool  { return a || b }

// choose returns the first of the offered list that is acceptable: the order
// is the offerer's preference (RFC 7143 §6.2.1).
func choose(offer string, ours []string) (string, error) {
	for len(offer) > 0 {
		var v string
		v, offer, _ = strings.Cut(offer, ",")
		if slices.Contains(ours, v) {
			return v, nil
		}
	}
	return "", fmt.Errorf("nothing acceptable in the list: %w", ErrValue)
}
