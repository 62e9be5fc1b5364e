package iscsi

import (
	"reflect"
	"testing"
)

func TestTargetAddress(t *testing.T) {
	for s, want := range map[string]TargetAddress{
		"10.0.0.1:3260,1":        {"10.0.0.1:3260", 1},
		"[fd00::1]:3261,65535":   {"[fd00::1]:3261", 65535},
		"disk.example.com:860,0": {"disk.example.com:860", 0},
	} {
		got, err := ParseTargetAddress(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{"10.0.0.1": "10.0.0.1:3260", "[fd00::1]": "[fd00::1]:3260", "host,4": "host:3260", "10.0.0.1:860": "10.0.0.1:860"} {
		if got, err := ParseTargetAddress(s); err != nil || got.Addr != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", ",1", ":3260,1", "a:b,1", "a:0,1", "a:65536,1", "a:,1", "a:3260,65536", "a:3260,", "a:3260,x", "fd00::1:3260,1", "[fd00::1:3260,1", "[1.2.3.4]:3260,1", "[]:3260,1", "a b:3260,1"} {
		if got, err := ParseTargetAddress(s); err == nil {
			t.Errorf("%q: %+v", s, got)
		}
	}
}

func TestTargetsRoundTrip(t *testing.T) {
	in := []TargetRecord{{Name: "iqn.a", Addresses: []TargetAddress{{"10.0.0.1:3260", 1}, {"[::1]:3260", 2}}}, {Name: "iqn.b"}}
	out, err := ParseTargets(AppendTargets(nil, in))
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := ParseTargets(pairs("TargetAddress=10.0.0.1:3260,1")); err == nil {
		t.Error("an address without a name was taken")
	}
	if _, err := ParseTargets(pairs("TargetName=a TargetAddress=")); err == nil {
		t.Error("an empty address was taken")
	}
}

func FuzzTargets(f *testing.F) {
	f.Add([]byte("TargetName=iqn.a\x00TargetAddress=[::1]:3260,1\x00TargetAddress=h,2\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := ParseText(b)
		if err != nil {
			return
		}
		records, err := ParseTargets(keys)
		if err != nil {
			return
		}
		again, err := ParseTargets(AppendTargets(nil, records))
		if err != nil || !reflect.DeepEqual(again, records) {
			t.Fatalf("%+v came back as %+v, %v", records, again, err)
		}
	})
}
