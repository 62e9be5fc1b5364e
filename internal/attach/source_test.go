package attach

import (
	"strings"
	"testing"
)

func TestParseSource(t *testing.T) {
	for _, tt := range []struct{ in, out, name string }{
		{"mem:16M", "mem:16M,block=512", "mem"},
		{"mem:1G,block=4096", "mem:1G,block=4096", "mem"},
		{"volume:db", "volume:db", "db"},
		{"iscsi://127.0.0.1/iqn.2026-11.io.sango:demo/0", "iscsi://127.0.0.1:3260/iqn.2026-11.io.sango:demo/0", "demo-0"},
		{"iscsi://u%s,ecret@a:1/iqn.2001-04.com.example/7,iscsi://b/iqn.2001-04.com.example/7", "iscsi://u%***@a:1/iqn.2001-04.com.example/7,iscsi://b:3260/iqn.2001-04.com.example/7", "example-7"},
	} {
		s, err := ParseSource(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if s.String() != tt.out || s.Name() != tt.name {
			t.Errorf("%s: %s, named %s; want %s, %s", tt.in, s, s.Name(), tt.out, tt.name)
		}
		if !s.same(s.String()) {
			t.Errorf("%s is not the same as itself", tt.in)
		}
	}
	for _, in := range []string{
		"", "x", "mem:", "mem:0", "mem:x", "mem:1000", "mem:1M,block=1024", "mem:1M,", "volume:", "volume:../x", "iscsi:", "iscsi://a/b",
		"iscsi://a/iqn.2001-04.com.example/7,iscsi://a/iqn.2001-04.com.example/8", "iscsi://a/iqn.2001-04.com.example/7,x",
	} {
		if s, err := ParseSource(in); err == nil {
			t.Errorf("%q was taken as %v", in, s)
		}
	}
	if _, err := ParseSource("iscsi://user%secret@/x"); err == nil || strings.Contains(err.Error(), "secret@") {
		t.Errorf("an error tells the secret: %v", err)
	}
}

func TestSameSource(t *testing.T) {
	a, err := ParseSource("iscsi://a/iqn.2001-04.com.example:x/1")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"iscsi://u%***@b:1/iqn.2001-04.com.example:x/1,iscsi://c/iqn.2001-04.com.example:x/1": true,
		"iscsi://a/iqn.2001-04.com.example:x/2":                                               false,
		"iscsi://a/iqn.2001-04.com.example:y/1":                                               false,
		"volume:x":                                                                            false, "mem:1M": false, "": false,
	} {
		if got := a.same(text); got != want {
			t.Errorf("same as %q: %v", text, got)
		}
	}
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"mem:1M,block=4096", "volume:x", "iscsi://u%s@[::1]:1/iqn.2001-04.com.example:x/1,iscsi://b/iqn.2001-04.com.example:x/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseSource(in)
		if err != nil {
			return
		}
		if n := s.Name(); n != "" && checkName(n) != nil {
			t.Fatalf("%q is named %q", in, n)
		}
		for _, u := range s.URLs {
			if len(u.Secret) > 3 && strings.Contains(s.String(), "%"+u.Secret+"@") {
				t.Fatalf("%q shows a secret", s)
			}
		}
	})
}
