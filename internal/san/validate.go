package san

import (
	"strings"
)

// MinSecret and MaxSecret bound a CHAP secret, in bytes: RFC 7143 §12.1.3 asks
// for at least 96 bits.
const (
	MinSecret = 12
	MaxSecret = 255
)

// MaxName is the longest iSCSI name, in bytes (RFC 7143 §4.2.7.1).
const MaxName = 223

// CheckName checks the name of a volume, snapshot, host or gateway: 1 to 64
// letters, digits, dots, dashes and underscores that start with a letter or
// digit, so that it is a file name and a command line word everywhere. what
// names the object in the error.
func CheckName(what, s string) error {
	ok := s != "" && len(s) <= 64
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = alnum || i > 0 && (c == '.' || c == '-' || c == '_')
	}
	if !ok {
		return Errorf(ErrInvalid, "%s name %q: use 1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first", what, s)
	}
	return nil
}

// CheckIQN checks an iSCSI name (RFC 7143 §4.2.7): an iqn. name with a date
// and a naming authority, an eui. name of 16 hex digits or a naa. name of 16
// or 32, in lower case, without the characters that RFC 3722 prohibits.
func CheckIQN(s string) error {
	bad := func(why string) error {
		return Errorf(ErrInvalid, "iSCSI name %q: %s; a name looks like iqn.2026-11.com.example:disks", s, why)
	}
	if len(s) > MaxName {
		return bad("longer than 223 bytes")
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-', c == ':':
		case c >= 0x80: // names may carry UTF-8 (RFC 7143 §4.2.7.2)
		case c >= 'A' && c <= 'Z':
			return bad("upper case is not allowed")
		default:
			return bad("only letters, digits, '.', '-' and ':' are allowed")
		}
	}
	switch {
	case strings.HasPrefix(s, "iqn."):
		d := s[len("iqn."):]
		if len(d) < 9 || !digits(d[0:4]) || d[4] != '-' || !digits(d[5:7]) || d[5:7] < "01" || d[5:7] > "12" || d[7] != '.' {
			return bad("after iqn. comes a year and a month as in 2026-11, a dot and a reversed domain")
		}
	case strings.HasPrefix(s, "eui."):
		if len(s) != 4+16 || !hexDigits(s[4:]) {
			return bad("after eui. come 16 hex digits")
		}
	case strings.HasPrefix(s, "naa."):
		if len(s) != 4+16 && len(s) != 4+32 || !hexDigits(s[4:]) {
			return bad("after naa. come 16 or 32 hex digits")
		}
	default:
		return bad("it must start with iqn., eui. or naa.")
	}
	return nil
}

func digits(s string) bool    { return strings.Trim(s, "0123456789") == "" }
func hexDigits(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// Check reports what is wrong with a volume record: name, driver, block sizes,
// and a size that is a positive multiple of the block size, at most
// MaxVolumeSize.
func (v *Volume) Check() error {
	if err := CheckName("volume", v.Name); err != nil {
		return err
	}
	if v.Driver != DriverLayered && v.Driver != DriverMem {
		return Errorf(ErrInvalid, "volume %s: driver %q is unknown; use layered or mem", v.Name, v.Driver)
	}
	if v.BlockSize != BlockSize512 && v.BlockSize != BlockSize4096 {
		return Errorf(ErrInvalid, "volume %s: block size %d; use 512 or 4096", v.Name, v.BlockSize)
	}
	if v.PhysicalBlock != BlockSize512 && v.PhysicalBlock != BlockSize4096 || v.PhysicalBlock < v.BlockSize {
		return Errorf(ErrInvalid, "volume %s: physical block size %d; use 512 or 4096, not below the block size %d", v.Name, v.PhysicalBlock, v.BlockSize)
	}
	if v.Adopted != "" && v.Driver != DriverLayered {
		return Errorf(ErrInvalid, "volume %s: only the layered driver can adopt %s", v.Name, v.Adopted)
	}
	switch v.Fencing {
	case "", FenceNone, FenceDriver, FenceCommand:
	default:
		return Errorf(ErrInvalid, "volume %s: fencing %q is unknown; use default, none, driver or command", v.Name, v.Fencing)
	}
	if len(v.Prefer) > MaxPrefer {
		return Errorf(ErrInvalid, "volume %s: %d gateways are preferred, more than %d", v.Name, len(v.Prefer), MaxPrefer)
	}
	for _, g := range v.Prefer {
		if err := CheckName("gateway", g); err != nil {
			return err
		}
	}
	return CheckVolumeSize(v.Name, v.Size, v.BlockSize)
}

// MaxPrefer bounds the gateways that a volume prefers.
const MaxPrefer = 16

// CheckVolumeSize checks the size of a volume, in bytes.
func CheckVolumeSize(name string, size int64, block int) error {
	switch {
	case size <= 0:
		return Errorf(ErrInvalid, "volume %s: size %d must be above 0", name, size)
	case size > MaxVolumeSize:
		return Errorf(ErrInvalid, "volume %s: size %s is above the limit of 64T", name, FormatSize(size))
	case size%int64(block) != 0:
		return Errorf(ErrInvalid, "volume %s: size %d is not a multiple of the block size %d; the next one is %d", name, size, block, (size/int64(block)+1)*int64(block))
	}
	return nil
}

// Check reports what is wrong with an account: names without control
// characters, secrets of MinSecret to MaxSecret bytes, and different secrets
// for the two directions (RFC 7143 §12.1.3). It never quotes a secret.
func (c *CHAP) Check() error {
	if err := checkUser(c.User); err != nil {
		return err
	}
	if err := checkSecret(c.User, c.Secret); err != nil {
		return err
	}
	if c.MutualUser == "" && c.MutualSecret == "" {
		return nil
	}
	if err := checkUser(c.MutualUser); err != nil {
		return err
	}
	if err := checkSecret(c.MutualUser, c.MutualSecret); err != nil {
		return err
	}
	if c.Secret == c.MutualSecret {
		return Errorf(ErrInvalid, "CHAP account %q: the secret of the target must differ from that of the host (RFC 7143 §12.1.3)", c.User)
	}
	return nil
}

func checkUser(u string) error {
	if u == "" || len(u) > MaxName {
		return Errorf(ErrInvalid, "CHAP user name %q: use 1 to %d bytes", u, MaxName)
	}
	for i := 0; i < len(u); i++ {
		if u[i] < 0x20 || u[i] == 0x7f {
			return Errorf(ErrInvalid, "CHAP user name %q: control characters are not allowed", u)
		}
	}
	return nil
}

func checkSecret(user, s string) error {
	if len(s) < MinSecret || len(s) > MaxSecret {
		return Errorf(ErrInvalid, "CHAP account %q: the secret has %d bytes; use %d to %d (12 to 16 for the Microsoft initiator)", user, len(s), MinSecret, MaxSecret)
	}
	for i := 0; i < len(s); i++ {
		if s[i] == 0 || s[i] == '\n' || s[i] == '\r' {
			return Errorf(ErrInvalid, "CHAP account %q: the secret contains a line break or zero byte; put it on one line of its file", user)
		}
	}
	return nil
}

// CheckAccounts checks a list of accounts; user names are unique in it.
func CheckAccounts(a []CHAP) error {
	seen := make(map[string]bool, len(a))
	for i := range a {
		if err := a[i].Check(); err != nil {
			return err
		}
		if seen[a[i].User] {
			return Errorf(ErrInvalid, "CHAP user %q is there twice; give each account a name of its own", a[i].User)
		}
		seen[a[i].User] = true
	}
	return nil
}

// Check reports what is wrong with a host record.
func (h *Host) Check() error {
	if err := CheckName("host", h.Name); err != nil {
		return err
	}
	if err := CheckIQN(h.IQN); err != nil {
		return err
	}
	for _, p := range h.Allowed {
		if !p.IsValid() {
			return Errorf(ErrInvalid, "host %s: an allowed source range is not a valid CIDR; write it as 10.0.0.0/24", h.Name)
		}
	}
	return CheckAccounts(h.Auth)
}

// Check reports what is wrong with a target record.
func (t *Target) Check() error {
	if err := CheckIQN(t.Name); err != nil {
		return err
	}
	return CheckAccounts(t.Auth)
}
