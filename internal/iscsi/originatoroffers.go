package iscsi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sango/internal/san"
)

// Offers is what an initiator offers in the operational stage, by name as in
// RFC 7143 §13. Start from DefaultOffers. Values out of the range of their key
// are taken for the nearest within.
type Offers struct {
	HeaderDigest       []string // DigestCRC32C, ValueNone: the order is the preference; nil: none
	DataDigest         []string
	InitialR2T         bool // Yes: no unsolicited data but immediate data
	ImmediateData      bool
	MaxRecv            int    // MaxRecvDataSegmentLength to declare, 512 to 2^24−1 bytes
	MaxBurstLength     uint32 // bytes
	FirstBurstLength   uint32 // bytes, at most MaxBurstLength
	MaxOutstandingR2T  uint16
	DefaultTime2Wait   uint16 // seconds: the larger side wins
	DefaultTime2Retain uint16 // seconds: the smaller side wins
}

// DefaultOffers returns the offers of an initiator that takes digests only
// where the target insists on them.
func DefaultOffers() Offers {
	return Offers{
		HeaderDigest:       []string{ValueNone, DigestCRC32C},
		DataDigest:         []string{ValueNone, DigestCRC32C},
		ImmediateData:      true,
		MaxRecv:            256 << 10,
		MaxBurstLength:     1 << 20,
		FirstBurstLength:   256 << 10,
		MaxOutstandingR2T:  16,
		DefaultTime2Wait:   2,
		DefaultTime2Retain: 0,
	}
}

// settle brings o within the ranges of RFC 7143 §13.
func (o *Offers) settle() {
	for _, d := range []*[]string{&o.HeaderDigest, &o.DataDigest} {
		if len(*d) == 0 {
			*d = []string{ValueNone}
		}
	}
	o.MaxRecv = min(max(o.MaxRecv, minSegment), maxSegment)
	o.MaxBurstLength = min(max(o.MaxBurstLength, minSegment), maxSegment)
	o.FirstBurstLength = min(max(o.FirstBurstLength, minSegment), o.MaxBurstLength)
	o.MaxOutstandingR2T = max(o.MaxOutstandingR2T, 1)
	o.DefaultTime2Wait = min(o.DefaultTime2Wait, maxTimeout)
	o.DefaultTime2Retain = min(o.DefaultTime2Retain, maxTimeout)
}

// limits returns how an initiator with these offers answers those of a target.
func (o *Offers) limits() Limits {
	return Limits{
		HeaderDigest:        o.HeaderDigest,
		DataDigest:          o.DataDigest,
		MaxConnections:      1,
		InitialR2T:          o.InitialR2T,
		ImmediateData:       o.ImmediateData,
		MaxRecv:             o.MaxRecv,
		MaxBurstLength:      o.MaxBurstLength,
		FirstBurstLength:    o.FirstBurstLength,
		MaxOutstandingR2T:   o.MaxOutstandingR2T,
		DefaultTime2Wait:    o.DefaultTime2Wait,
		DefaultTime2Retain:  o.DefaultTime2Retain,
		DataPDUInOrder:      true,
		DataSequenceInOrder: true,
	}
}

// offered is a key that the initiator has offered.
type offered struct {
	Pair
	take     func(v string) error // checks the answer and brings it into force
	standing string               // what holds while the key is not negotiated
	loose    bool                 // the standing value is as good as any
	answered bool
}

// offers returns the keys to negotiate in the operational stage.
func (o *Originator) offers() []offered {
	f, p := &o.cfg.Offers, &o.neg.Params
	yes, none := ValueYes, ValueNone
	list := []offered{
		offerDigest(KeyHeaderDigest, f.HeaderDigest, none, &p.HeaderDigest),
		offerDigest(KeyDataDigest, f.DataDigest, none, &p.DataDigest),
	}
	if !p.Discovery {
		list = append(list,
			offerNumber(KeyMaxConnections, 1, 1, 1, 1, &p.MaxConnections),
			offerBool(KeyInitialR2T, f.InitialR2T, yes, or, &p.InitialR2T),
			offerBool(KeyImmediateData, f.ImmediateData, yes, and, &p.ImmediateData),
			offerNumber(KeyMaxBurst, f.MaxBurstLength, minSegment, f.MaxBurstLength, defaultMaxBurst, &p.MaxBurstLength),
			offerNumber(KeyMaxOutstandingR2T, f.MaxOutstandingR2T, 1, f.MaxOutstandingR2T, 1, &p.MaxOutstandingR2T),
			offerBool(KeyDataPDUInOrder, true, yes, or, &p.DataPDUInOrder),
			offerBool(KeyDataSequenceInOrder, true, yes, or, &p.DataSequenceInOrder),
		)
		if f.ImmediateData || !f.InitialR2T { // else it has no meaning
			first := offerNumber(KeyFirstBurst, f.FirstBurstLength, minSegment, f.FirstBurstLength, defaultFirst, &p.FirstBurstLength)
			first.loose = true // Outcome keeps it within bounds
			list = append(list, first)
		}
	}
	wait := offerNumber(KeyTime2Wait, f.DefaultTime2Wait, f.DefaultTime2Wait, maxTimeout, 2, &p.DefaultTime2Wait)
	retain := offerNumber(KeyTime2Retain, f.DefaultTime2Retain, 0, f.DefaultTime2Retain, 20, &p.DefaultTime2Retain)
	wait.loose, retain.loose = true, true // nothing depends on them without error recovery
	return append(list, wait, retain, offerNumber(KeyErrorRecoveryLevel, 0, 0, 0, 0, &p.ErrorRecoveryLevel))
}

func offerDigest(key string, list []string, standing string, to *bool) offered {
	return offered{Pair: Pair{key, strings.Join(list, ",")}, standing: standing, take: func(v string) error {
		if !slices.Contains(list, v) || v != DigestCRC32C && v != ValueNone {
			return fmt.Errorf("that is not among them: %w", ErrValue)
		}
		*to = v == DigestCRC32C
		return nil
	}}
}

// offerNumber offers value; an answer from lo to hi is within the offer.
func offerNumber[T uint8 | uint16 | uint32](key string, value, lo, hi, standing T, to *T) offered {
	return offered{
		Pair:     Pair{key, strconv.FormatUint(uint64(value), 10)},
		standing: strconv.FormatUint(uint64(standing), 10),
		take: func(v string) error {
			x, err := ParseNumber(v)
			if err != nil {
				return err
			}
			if x < uint64(lo) || x > uint64(hi) {
				return fmt.Errorf("only %d to %d is within the offer: %w", lo, hi, ErrValue)
			}
			*to = T(x)
			return nil
		},
	}
}

// offerBool offers value; f is the key's result function.
func offerBool(key string, value bool, standing string, f func(a, b bool) bool, to *bool) offered {
	return offered{Pair: Pair{key, FormatBool(value)}, standing: standing, take: func(v string) error {
		b, err := ParseBool(v)
		if err != nil {
			return err
		}
		if f(b, value) != b {
			return fmt.Errorf("only %s is within the offer: %w", FormatBool(value), ErrValue)
		}
		*to = b
		return nil
	}}
}

// settleOffer takes the answer to one offer. Reject, Irrelevant and
// NotUnderstood leave what holds without negotiation, which the offer must
// have allowed.
func settleOffer(f *offered, v string) error {
	if f.answered {
		return protocolErrorf(RejectProtocol, "key %s was answered a second time", f.Key)
	}
	f.answered = true
	if reserved(v) {
		return f.stand("the target answered " + v + " to")
	}
	if err := f.take(v); err != nil {
		return protocolErrorf(RejectProtocol, "the target answered %s=%s to %s: %v", f.Key, strconv.Quote(clip(v)), f.Pair.Value, err)
	}
	return nil
}

// stand falls back on the standing value.
func (f *offered) stand(why string) error {
	if f.loose {
		return nil
	}
	if err := f.take(f.standing); err != nil {
		return protocolErrorf(RejectProtocol, "%s %s=%s, and %s, which holds then, is not within the offer", why, f.Key, f.Pair.Value, f.standing)
	}
	return nil
}

// declared takes a key that only a target declares, and reports whether it is
// one.
func (o *Originator) declared(p Pair) (bool, error) {
	switch p.Key {
	case KeyTargetAlias:
		o.alias = p.Value
	case KeyTargetAddress: // of a redirection only; it means nothing here
	case KeyTargetPortalGroupTag:
		n, err := ParseNumber(p.Value)
		if err != nil || n > 0xffff {
			return true, protocolErrorf(RejectProtocol, "the target's portal group tag is %q, not a number below 65536", clip(p.Value))
		}
		o.tpg, o.hasTPG = san.TPG(n), true
	case KeyTargetName, KeyInitiatorName, KeyInitiatorAlias, KeySessionType, KeySendTargets:
		if !reserved(p.Value) {
			return true, protocolErrorf(RejectProtocol, "the target sent %s, which is not its to send in a login", p.Key)
		}
		if p.Key != KeyInitiatorAlias {
			return true, protocolErrorf(RejectProtocol, "the target answered %s to %s", p.Value, p.Key)
		}
	case KeyInstance:
		// Whatever it says: a target that notes it answers nothing.
		o.instanceRefused, o.neg.Params.Instance = true, san.Instance{}
	case KeyMaxRecvSegment:
		if reserved(p.Value) {
			return true, protocolErrorf(RejectProtocol, "the target answered %s to %s=%d", p.Value, p.Key, o.cfg.Offers.MaxRecv)
		}
		return false, nil
	default:
		return false, nil
	}
	return true, nil
}
