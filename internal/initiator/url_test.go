package initiator

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for in, want := range map[string]URL{
		"iscsi://10.0.0.1/iqn.2026-11.test:a/0":                      {Host: "10.0.0.1:3260", Target: "iqn.2026-11.test:a"},
		"iscsi://san.example:3261/iqn.2026-11.test:a/16383":          {Host: "san.example:3261", Target: "iqn.2026-11.test:a", LUN: 16383},
		"iscsi://[fe80::1]:3261/iqn.2026-11.test:a/1":                {Host: "[fe80::1]:3261", Target: "iqn.2026-11.test:a", LUN: 1},
		"iscsi://[::1]/iqn.2026-11.test:a/1":                         {Host: "[::1]:3260", Target: "iqn.2026-11.test:a", LUN: 1},
		"iscsi://me@10.0.0.1/iqn.2026-11.test:a/0":                   {User: "me", Host: "10.0.0.1:3260", Target: "iqn.2026-11.test:a"},
		"iscsi://me%s3c/r%t@home?@10.0.0.1:1/iqn.2026-11.test:a/255": {User: "me", Secret: "s3c/r%t@home?", Host: "10.0.0.1:1", Target: "iqn.2026-11.test:a", LUN: 255},
	} {
		got, err := ParseURL(in)
		if err != nil || got != want {
			t.Errorf("%s: %#v, %v", in, got, err)
		}
		if again, err := ParseURL(strings.Replace(got.String(), "***", got.Secret, 1)); err != nil || again != got {
			t.Errorf("%s: %v came back as %v, %v", in, got, again, err)
		}
	}
}

func TestParseURLSaysWhatIsWrong(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "iscsi://",
		"http://u%hidden@h/iqn.a:b/0":  "iscsi://",
		"iscsi://":                     "host/iqn/lun",
		"iscsi://h":                    "host/iqn/lun",
		"iscsi://h/iqn.a:b":            "host/iqn/lun",
		"iscsi://h/iqn.a:b/0/1":        "goes on",
		"iscsi://h/iqn.a:b/0?x=y":      "options",
		"iscsi://%hidden@h/iqn.a:b/0":  "no user",
		"iscsi://u%@h/iqn.a:b/0":       "no secret",
		"iscsi:///iqn.a:b/0":           "not host",
		"iscsi://::1/iqn.a:b/0":        "brackets",
		"iscsi://[::1/iqn.a:b/0":       "brackets",
		"iscsi://h:99999/iqn.a:b/0":    "65535",
		"iscsi://h,1/iqn.a:b/0":        "not host",
		"iscsi://u%hidden@h//0":        "name of a target",
		"iscsi://u%hidden@h/iqn.a:b/x": "LUN",
		"iscsi://h/iqn.a:b/16384":      "LUN",
		"iscsi://h/iqn.a:b/-1":         "LUN",
	} {
		_, err := ParseURL(in)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	u := URL{User: "me", Secret: "hidden", Host: "h:1", Target: "iqn.a:b"}
	for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(f, u) + fmt.Sprintf(f, &u); strings.Contains(s, "hidden") {
			t.Error(s)
		}
	}
}
