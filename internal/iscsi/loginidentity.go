package iscsi

import (
	"strings"

	"sango/internal/san"
)

// identify reads the names from the first text of a login (RFC 7143 §6.3) and
// asks the target about them. Names are taken in lower case, in which RFC 3722
// wants them to come: one initiator is one nexus and one holder of
// reservations, however it writes itself.
func (l *Login) identify(keys Keys) error {
	id := Identity{TSIH: l.tsih, CID: l.cid}
	initiator, ok := keys.Get(KeyInitiatorName)
	if !ok {
		return loginErrorf(LoginMissingParameter, "the first request has no InitiatorName")
	}
	if err := CheckName(initiator); err != nil {
		return loginErrorf(LoginInitiatorError, "InitiatorName: %v", err)
	}
	switch kind, ok := keys.Get(KeySessionType); {
	case !ok, kind == TypeNormal:
	case kind == TypeDiscovery:
		id.Discovery = true
	default:
		return loginErrorf(LoginBadSessionType, "SessionType %q is not known", clip(kind))
	}
	target, ok := keys.Get(KeyTargetName)
	switch {
	case ok:
		if err := CheckName(target); err != nil {
			return loginErrorf(LoginInitiatorError, "TargetName: %v", err)
		}
	case !id.Discovery:
		return loginErrorf(LoginMissingParameter, "the first request of a normal session has no TargetName")
	}
	if id.Discovery && id.TSIH != 0 {
		return loginErrorf(LoginCantInclude, "a discovery session has one connection only")
	}
	id.Initiator = san.InitiatorPort{Name: strings.ToLower(initiator), ISID: l.isid}
	id.Target = strings.ToLower(target)
	id.Alias, _ = keys.Get(KeyInitiatorAlias)
	l.identity, l.identified = id, true
	l.neg.Params.Discovery = id.Discovery // before the keys that depend on it
	accounts, status := l.cfg.Identify(id)
	if status != LoginSuccess {
		return loginErrorf(status, "%v as %s to %q", status, initiator, clip(target))
	}
	l.security = security{chap: chapResponder{
		accounts:   accounts,
		algorithms: l.cfg.Algorithms,
		challenger: l.cfg.Challenger,
	}, optional: len(accounts) == 0 || id.Discovery && !l.cfg.DiscoveryCHAP}
	if l.stage != Security && !l.security.optional {
		return &errAuth{"the initiator skipped the security stage"}
	}
	return nil
}

// repeated takes the keys that belong in the first text out of a later one.
// Some initiators say them again in each stage (libiscsi does in discovery
// sessions); that is taken as long as they say the same.
func (l *Login) repeated(keys Keys) (rest Keys, err error) {
	kind := TypeNormal
	if l.identity.Discovery {
		kind = TypeDiscovery
	}
	said := Keys{{KeyInitiatorName, l.identity.Initiator.Name}, {KeyTargetName, l.identity.Target}, {KeySessionType, kind}}
	if l.identity.Alias != "" {
		said.add(KeyInitiatorAlias, l.identity.Alias)
	}
	for _, p := range keys {
		v, ok := said.Get(p.Key)
		name := p.Key == KeyInitiatorName || p.Key == KeyTargetName
		same := v == p.Value || name && v == strings.ToLower(p.Value)
		switch {
		case !ok:
			rest = append(rest, p)
		case !same:
			return nil, loginErrorf(LoginInitiatorError, "%s=%s after the first request, which said %q", p.Key, clip(p.Value), clip(v))
		}
	}
	return rest, nil
}
