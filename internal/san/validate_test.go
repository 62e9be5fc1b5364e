package san

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckIQN(t *testing.T) {
	for _, ok := range []string{"iqn.2026-11.io.sango:demo", "iqn.1993-08.org.debian:01:abc", "eui.02004567a425678d", "naa.52004567ba64678d", "naa.62004567ba64678d0123456789abcdef", "iqn.2001-04.com.exämple:x"} {
		if err := CheckIQN(ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "x", "iqn.", "iqn.2026", "iqn.2026-13.a.b", "iqn.2026-00.a.b", "iqn.2026-11", "iqn.2026-11.", "IQN.2026-11.io.x", "iqn.2026-11.io.x:A", "iqn.2026-11.io x", "iqn.2026-11.io/x", "eui.123", "naa.zz", "iqn.2026-11.a:" + strings.Repeat("x", 223)} {
		if err := CheckIQN(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, ok := range []string{"a", "disk1", "db_1.x-y", strings.Repeat("a", 64)} {
		if err := CheckName("volume", ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", ".", "..", "-a", "_a", "a/b", "a@b", "a b", "ä", strings.Repeat("a", 65)} {
		if err := CheckName("volume", bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestVolumeCheck(t *testing.T) {
	good := Volume{Name: "a", Driver: DriverLayered, Size: 1 << 20, BlockSize: 512, PhysicalBlock: 4096}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Volume){
		"name":           func(v *Volume) { v.Name = "a/b" },
		"driver":         func(v *Volume) { v.Driver = "zfs" },
		"block size":     func(v *Volume) { v.BlockSize = 1024 },
		"physical block": func(v *Volume) { v.PhysicalBlock = 520 },
		"physical below": func(v *Volume) { v.BlockSize, v.PhysicalBlock = 4096, 512 },
		"size zero":      func(v *Volume) { v.Size = 0 },
		"size negative":  func(v *Volume) { v.Size = -512 },
		"size odd":       func(v *Volume) { v.Size = 513 },
		"size too large": func(v *Volume) { v.Size = MaxVolumeSize + 512 },
		"adopted mem":    func(v *Volume) { v.Driver, v.Adopted = DriverMem, "/dev/sdb" },
	} {
		v := good
		change(&v)
		if err := v.Check(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCHAPCheckNeverQuotesASecret(t *testing.T) {
	for name, c := range map[string]CHAP{
		"short":        {User: "u", Secret: "hunter2"},
		"long":         {User: "u", Secret: strings.Repeat("hunter2", 40)},
		"line break":   {User: "u", Secret: "hunter2hunter2\nx"},
		"no user":      {Secret: "hunter2hunter2"},
		"same both":    {User: "u", Secret: "hunter2hunter2", MutualUser: "t", MutualSecret: "hunter2hunter2"},
		"mutual short": {User: "u", Secret: "hunter2hunter2", MutualUser: "t", MutualSecret: "hunter2"},
		"mutual user":  {User: "u", Secret: "hunter2hunter2", MutualSecret: "hunter2hunter3"},
	} {
		err := c.Check()
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
	twice := []CHAP{{User: "u", Secret: "hunter2hunter2"}, {User: "u", Secret: "hunter3hunter3"}}
	if err := CheckAccounts(twice); !errors.Is(err, ErrInvalid) {
		t.Errorf("same user twice: %v", err)
	}
}
