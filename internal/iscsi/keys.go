package iscsi

import (
	"fmt"

	"sango/internal/san"
)

// keySpec is one key of RFC 7143 §13: when it may come and what becomes of
// it.
type keySpec struct {
	name     string
	security bool // may come in the security stage
	full     bool // may come in full feature phase (use ALL)
	fullOnly bool // may come in full feature phase only (use FFPO)
	normal   bool // irrelevant in a discovery session
	target   bool // only a target sends it
	// take applies an offer and returns the answer, "" for a declaration.
	take func(n *Negotiation, v string) (string, error)
}

func (s *keySpec) allowed(at Phase) bool {
	switch at {
	case PhaseSecurity:
		return s.security
	case PhaseOperational:
		return !s.fullOnly
	}
	return s.full || s.fullOnly
}

// lookup returns the entry of key, nil if there is none.
func lookup(key string) *keySpec {
	for i := range keyTable {
		if keyTable[i].name == key {
			return &keyTable[i]
		}
	}
	return nil
}

// keyTable is in the order of RFC 7143 §13.
var keyTable = [...]keySpec{
	{name: KeyHeaderDigest, take: func(n *Negotiation, v string) (string, error) {
		return digest(v, n.limits.HeaderDigest, &n.Params.HeaderDigest)
	}},
	{name: KeyDataDigest, take: func(n *Negotiation, v string) (string, error) {
		return digest(v, n.limits.DataDigest, &n.Params.DataDigest)
	}},
	{name: KeyMaxConnections, normal: true, take: func(n *Negotiation, v string) (string, error) {
		return number(v, 1, 65535, n.limits.MaxConnections, lower, &n.Params.MaxConnections)
	}},
	{name: KeyTargetName, security: true, take: func(n *Negotiation, v string) (string, error) {
		return "", name(v, &n.Params.TargetName)
	}},
	{name: KeyInitiatorName, security: true, take: func(n *Negotiation, v string) (string, error) {
		return "", name(v, &n.Params.InitiatorName)
	}},
	{name: KeyTargetAlias, security: true, full: true, target: true},
	{name: KeyInitiatorAlias, security: true, full: true, take: func(n *Negotiation, v string) (string, error) {
		n.Params.InitiatorAlias = v
		return "", nil
	}},
	{name: KeyTargetAddress, security: true, full: true, target: true},
	{name: KeyTargetPortalGroupTag, security: true, target: true},
	{name: KeyInitialR2T, normal: true, take: func(n *Negotiation, v string) (string, error) {
		return boolean(v, n.limits.InitialR2T, or, &n.Params.InitialR2T)
	}},
	{name: KeyImmediateData, normal: true, take: func(n *Negotiation, v string) (string, error) {
		return boolean(v, n.limits.ImmediateData, and, &n.Params.ImmediateData)
	}},
	{name: KeyMaxRecvSegment, security: true, full: true, take: func(n *Negotiation, v string) (string, error) {
		x, err := ParseNumber(v)
		if err != nil {
			return "", err
		}
		if x < minSegment || x > maxSegment {
			return "", fmt.Errorf("%d is outside %d to %d: %w", x, minSegment, maxSegment, ErrValue)
		}
		n.Params.MaxSend = int(x)
		return "", nil
	}},
	{name: KeyMaxBurst, normal: true, take: func(n *Negotiation, v string) (string, error) {
		return number(v, minSegment, maxSegment, n.limits.MaxBurstLength, lower, &n.Params.MaxBurstLength)
	}},
	{name: KeyFirstBurst, normal: true, take: func(n *Negotiation, v string) (string, error) {
		return number(v, minSegment, maxSegment, n.limits.FirstBurstLength, lower, &n.Params.FirstBurstLength)
	}},
	{name: KeyTime2Wait, take: func(n *Negotiation, v string) (string, error) {
		return number(v, 0, maxTimeout, n.limits.DefaultTime2Wait, higher, &n.Params.DefaultTime2Wait)
	}},
	{name: KeyTime2Retain, take: func(n *Negotiation, v string) (string, error) {
		return number(v, 0, maxTimeout, n.limits.DefaultTime2Retain, lower, &n.Params.DefaultTime2Retain)
	}},
	{name: KeyMaxOutstandingR2T, normal: true, take: func(n *Negotiation, v string) (string, error) {
		return number(v, 1, 65535, n.limits.MaxOutstandingR2T, lower, &n.Params.MaxOutstandingR2T)
	}},
	{name: KeyDataPDUInOrder, normal: true, take: func(n *Negotiation, v string) (string, error) {
		return boolean(v, n.limits.DataPDUInOrder, or, &n.Params.DataPDUInOrder)
	}},
	{name: KeyDataSequenceInOrder, normal: true, take: func(n *Negotiation, v string) (string, error) {
		return boolean(v, n.limits.DataSequenceInOrder, or, &n.Params.DataSequenceInOrder)
	}},
	{name: KeyErrorRecoveryLevel, take: func(n *Negotiation, v string) (string, error) {
		return number(v, 0, 2, n.limits.ErrorRecoveryLevel, lower, &n.Params.ErrorRecoveryLevel)
	}},
	{name: KeySessionType, security: true, take: func(n *Negotiation, v string) (string, error) {
		switch v {
		case TypeDiscovery, TypeNormal:
			n.Params.Discovery = v == TypeDiscovery
			return "", nil
		}
		return "", fmt.Errorf("session type %q: %w", clip(v), ErrValue)
	}},
	{name: KeyTaskReporting, normal: true, take: func(_ *Negotiation, v string) (string, error) {
		return choose(v, []string{ReportingRFC})
	}},
	{name: KeyProtocolLevel, normal: true, take: func(n *Negotiation, v string) (string, error) {
		return number(v, 0, 31, protocolLevel, lower, &n.Params.ProtocolLevel)
	}},
	{name: KeyInstance, normal: true, take: func(n *Negotiation, v string) (string, error) {
		return "", instance(v, &n.Params.Instance)
	}},
	// Obsolete, yet never NotUnderstood (RFC 7143 §13.25).
	{name: KeyIFMarker, take: marker},
	{name: KeyOFMarker, take: marker},
	{name: KeyIFMarkInt, take: refuse},
	{name: KeyOFMarkInt, take: refuse},
}

func digest(v string, ours []string, to *bool) (string, error) {
	d, err := choose(v, ours)
	if err != nil {
		return "", err
	}
	*to = d == DigestCRC32C
	return d, nil
}

func name(v string, to *string) error {
	if err := CheckName(v); err != nil {
		return err
	}
	*to = v
	return nil
}

// instance reads the value of KeyInstance: nothing but 40 hexadecimal digits
// after 0x, with a group.
func instance(v string, to *san.Instance) error {
	b, err := ParseBinary(v, san.InstanceLen)
	if err != nil {
		return err
	}
	i, err := san.ParseInstance(b)
	if err != nil || len(v) != 2+2*san.InstanceLen || i.Group == 0 {
		return fmt.Errorf("instance %q: want 0x and %d hexadecimal digits, of which the first 16 are not all 0: %w", clip(v), 2*san.InstanceLen, ErrValue)
	}
	*to = i
	return nil
}

func marker(_ *Negotiation, v string) (string, error) {
	if _, err := ParseBool(v); err != nil {
		return "", err
	}
	return ValueNo, nil
}

func refuse(*Negotiation, string) (string, error) { return ValueReject, nil }
