package iscsi

import (
	"net/netip"
	"strconv"
	"strings"

	"sango/internal/san"
)

// TargetRecord is one target in the answer to SendTargets (RFC 7143 appendix
// C).
type TargetRecord struct {
	Name      string
	Addresses []TargetAddress
}

// TargetAddress is one portal of a target.
type TargetAddress struct {
	Addr string // host:port; the host of an IPv6 address in brackets
	TPG  san.TPG
}

// String returns the value of a TargetAddress key (RFC 7143 §13.8).
func (a TargetAddress) String() string {
	return a.Addr + "," + strconv.Itoa(int(a.TPG))
}

// ParseTargetAddress reads the value of a TargetAddress key. A port that is
// missing is 3260. The tag is 0 where there is none, as in a redirection.
func ParseTargetAddress(s string) (TargetAddress, error) {
	var a TargetAddress
	addr, tag, hasTag := strings.Cut(s, ",")
	if hasTag {
		n, err := ParseNumber(tag)
		if err != nil || n > 0xffff {
			return a, protocolErrorf(RejectInvalidField, "TargetAddress %q: the portal group tag is not a number below 65536", clip(s))
		}
		a.TPG = san.TPG(n)
	}
	host, port := addr, ""
	if i := strings.LastIndexByte(addr, ':'); i >= 0 && !strings.HasSuffix(addr, "]") {
		host, port = addr[:i], addr[i+1:]
	}
	inner, bracket := strings.CutPrefix(host, "[")
	if bracket {
		var closed bool
		inner, closed = strings.CutSuffix(inner, "]")
		if ip, err := netip.ParseAddr(inner); !closed || err != nil || !ip.Is6() {
			return a, protocolErrorf(RejectInvalidField, "TargetAddress %q: no IPv6 address in the brackets", clip(s))
		}
	}
	if inner == "" || !bracket && strings.ContainsAny(host, ":[] \x00") {
		return a, protocolErrorf(RejectInvalidField, "TargetAddress %q: no host", clip(s))
	}
	if port == "" && strings.HasSuffix(addr, ":") {
		return a, protocolErrorf(RejectInvalidField, "TargetAddress %q: no port after the colon", clip(s))
	}
	if port == "" {
		port = "3260"
	}
	if n, err := ParseNumber(port); err != nil || n == 0 || n > 65535 {
		return a, protocolErrorf(RejectInvalidField, "TargetAddress %q: the port is not a number from 1 to 65535", clip(s))
	}
	a.Addr = host + ":" + port
	return a, nil
}

// AppendTargets appends the records to k: each name, followed by its
// addresses.
func AppendTargets(k Keys, records []TargetRecord) Keys {
	for _, r := range records {
		k.add(KeyTargetName, r.Name)
		for _, a := range r.Addresses {
			k.add(KeyTargetAddress, a.String())
		}
	}
	return k
}

// ParseTargets reads the answer to SendTargets. Other keys are passed over;
// an address before the first name is an error.
func ParseTargets(keys Keys) ([]TargetRecord, error) {
	var out []TargetRecord
	for _, p := range keys {
		switch p.Key {
		case KeyTargetName:
			out = append(out, TargetRecord{Name: p.Value})
		case KeyTargetAddress:
			if len(out) == 0 {
				return nil, protocolErrorf(RejectProtocol, "a TargetAddress before any TargetName")
			}
			a, err := ParseTargetAddress(p.Value)
			if err != nil {
				return nil, err
			}
			last := &out[len(out)-1]
			last.Addresses = append(last.Addresses, a)
		}
	}
	return out, nil
}

// sendTargets answers the key (RFC 7143 appendix C): All in a discovery
// session only, one name, or nothing for the target of a normal session. In
// that one no other target is told about.
func (x *TextExchange) sendTargets(v string) Keys {
	reject := Keys{{KeySendTargets, ValueReject}}
	own := strings.ToLower(x.params.TargetName)
	if v != SendTargetsAll {
		v = strings.ToLower(v)
	}
	switch {
	case x.params.Discovery && v == SendTargetsAll:
		return AppendTargets(nil, x.targets(""))
	case x.params.Discovery && CheckName(v) == nil:
		return AppendTargets(nil, x.targets(v))
	case !x.params.Discovery && (v == "" || v == own):
		return AppendTargets(nil, x.targets(own))
	}
	return reject
}
