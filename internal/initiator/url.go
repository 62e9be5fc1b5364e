package initiator

import (
	"fmt"
	"strconv"
	"strings"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// URL is iscsi://[user[%secret]@]host[:port]/iqn/lun, as libiscsi writes them.
type URL struct {
	User   string
	Secret string  `json:"-"`
	Host   string  // host:port; an IPv6 address in brackets
	Target string  // the target's iSCSI name
	LUN    san.LUN // logical unit
}

const urlForm = "iscsi://[user[%secret]@]host[:port]/iqn/lun"

// ParseURL reads a URL. Everything up to the last @ is the account, and the
// secret starts after the first % in it; nothing is escaped. Errors say what is
// wrong and never quote the account.
func ParseURL(s string) (URL, error) {
	var u URL
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme != "iscsi" {
		return u, urlErrorf("it does not start with iscsi://")
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		account := rest[:at]
		rest = rest[at+1:]
		u.User, u.Secret, ok = strings.Cut(account, "%")
		switch {
		case u.User == "":
			return URL{}, urlErrorf("there is no user before the @")
		case ok && u.Secret == "":
			return URL{}, urlErrorf("there is no secret after the %%")
		}
	}
	if strings.ContainsAny(rest, "?#") {
		return URL{}, urlErrorf("%q has options after ? or #, which are not served: leave them out", rest)
	}
	parts := strings.Split(rest, "/")
	switch {
	case len(parts) < 3:
		return URL{}, urlErrorf("%q is not host/iqn/lun", rest)
	case len(parts) > 3:
		return URL{}, urlErrorf("%q goes on after host/iqn/lun", rest)
	}
	a, err := iscsi.ParseTargetAddress(parts[0])
	if err != nil || strings.Contains(parts[0], ",") {
		return URL{}, urlErrorf("%q is not host or host:port: an IPv6 address goes in brackets, the port is 1 to 65535", parts[0])
	}
	u.Host, u.Target = a.Addr, parts[1]
	if err := iscsi.CheckName(u.Target); err != nil {
		return URL{}, urlErrorf("%q is not the name of a target: %v", u.Target, err)
	}
	n, err := strconv.ParseUint(parts[2], 10, 16)
	if err != nil || n > uint64(san.MaxLUN) {
		return URL{}, urlErrorf("%q is not a LUN from 0 to %d", parts[2], san.MaxLUN)
	}
	u.LUN = san.LUN(n)
	return u, nil
}

func urlErrorf(format string, args ...any) error {
	return &UsageError{"iSCSI URL: " + fmt.Sprintf(format, args...) + "; the form is " + urlForm}
}

// CHAP returns the account of the URL, nil without one.
func (u URL) CHAP() *san.CHAP {
	if u.User == "" {
		return nil
	}
	return &san.CHAP{User: u.User, Secret: u.Secret}
}

// String returns the URL with *** for a secret.
func (u URL) String() string {
	account := ""
	if u.User != "" {
		account = u.User
		if u.Secret != "" {
			account += "%***"
		}
		account += "@"
	}
	return fmt.Sprintf("iscsi://%s%s/%s/%d", account, u.Host, u.Target, u.LUN)
}

// GoString is String: %#v shows no secret either.
func (u URL) GoString() string { return u.String() }
