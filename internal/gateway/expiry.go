package gateway

import (
	"fmt"
	"slices"
	"time"

	"sango/internal/api"
	"sango/internal/certs"
	"sango/internal/meta"
)

// expirySoon is how long before its end a certificate is told.
const expirySoon = 30 * 24 * time.Hour

// certificates are the files that the node shows and trusts.
func (c *Config) certificates() (all []certs.Files) {
	add := func(t meta.TLS) {
		if f := certs.Files(t); t != (meta.TLS{}) && !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	if c.Meta.Member != nil {
		add(c.Meta.Member.TLS)
	}
	if c.Meta.External != nil {
		add(c.Meta.External.TLS)
	}
	add(c.Cluster.TLS)
	return all
}

// expiries tells which certificates expire soon, or have, and when the first does.
func (c *Config) expiries(now time.Time) (told []string, first certs.Expiry, err error) {
	var seen []certs.Expiry
	for _, f := range c.certificates() {
		all, ferr := f.Expiries()
		if ferr != nil {
			err = ferr
		}
		for _, e := range all {
			if slices.Contains(seen, e) {
				continue
			}
			seen = append(seen, e)
			if first.File == "" || e.At.Before(first.At) {
				first = e
			}
			at, left := e.At.UTC().Format(time.DateTime), e.At.Sub(now)
			switch {
			case left <= 0:
				told = append(told, fmt.Sprintf("the certificate %s in %s expired at %s: new connections with it are refused", e.What, e.File, at))
			case left < expirySoon:
				told = append(told, fmt.Sprintf("the certificate %s in %s expires in %d days, at %s", e.What, e.File, int(left/(24*time.Hour)), at))
			}
		}
	}
	return told, first, err
}

// replaceIt says what to do about a certificate that expires.
const replaceIt = "put a new one in its place, which needs no restart; docs/cluster.md says how, also for that of an authority"

// addExpiry tells of certificates in the status of a node.
func addExpiry(st *api.Status, c *Config, now time.Time) {
	told, _, err := c.expiries(now)
	if err != nil {
		st.Problems = append(st.Problems, fmt.Sprintf("what this node shows to others can't be read any more: %v", err))
	}
	for _, s := range told {
		st.Problems = append(st.Problems, s+"; "+replaceIt)
	}
}

// expiryFindings looks at the certificates of a configuration.
func expiryFindings(c *Config) (out []Finding) {
	const check = "certificates"
	if len(c.certificates()) == 0 {
		return nil
	}
	told, first, err := c.expiries(time.Now())
	if err != nil {
		return []Finding{{check, FindingFailed, err.Error(), "correct the files"}}
	}
	for _, s := range told {
		out = append(out, Finding{check, FindingWarning, s, replaceIt})
	}
	if len(told) == 0 {
		out = append(out, fine(check, "the first to expire is %s in %s, at %s", first.What, first.File, first.At.UTC().Format(time.DateTime)))
	}
	return out
}
