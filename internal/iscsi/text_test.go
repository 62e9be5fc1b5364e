package iscsi

import (
	"slices"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	const wire = "InitiatorName=iqn.a\x00SessionType=Normal\x00CHAP_N=0x41=b\x00SendTargets=\x00X#Node@a+b-c.d=1\x00"
	want := Keys{{"InitiatorName", "iqn.a"}, {"SessionType", "Normal"}, {"CHAP_N", "0x41=b"}, {"SendTargets", ""}, {"X#Node@a+b-c.d", "1"}}
	got, err := ParseText([]byte(wire))
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%q, %v", got, err)
	}
	if out := string(want.Append(nil)); out != wire {
		t.Errorf("wrote %q", out)
	}
	if v, ok := got.Get("SendTargets"); !ok || v != "" {
		t.Errorf("Get: %q, %v", v, ok)
	}
	if _, ok := got.Get("TargetName"); ok {
		t.Error("Get found what is not there")
	}
}

// A text that is cut fails unless the cut is right after a pair.
func TestTextTruncated(t *testing.T) {
	const wire = "InitiatorName=iqn.a\x00SessionType=Normal\x00MaxBurstLength=512\x00"
	for i := range wire {
		_, err := ParseText([]byte(wire[:i]))
		if whole := i == 0 || wire[i-1] == 0; (err == nil) != whole {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

func TestTextPadding(t *testing.T) {
	if got, err := ParseText([]byte("\x00\x00AuthMethod=None\x00\x00")); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTextRefused(t *testing.T) {
	for _, s := range []string{
		"AuthMethod\x00", "=None\x00", "authMethod=None\x00", "Auth Method=None\x00", "Auth\xffMethod=None\x00", "1A=b\x00",
		strings.Repeat("A", MaxKeyName+1) + "=1\x00",
	} {
		if got, err := ParseText([]byte(s)); err == nil {
			t.Errorf("%q was taken as %q", clip(s), got)
		}
	}
	if _, err := ParseText([]byte(strings.Repeat("A", MaxKeyName) + "=1\x00")); err != nil {
		t.Error(err)
	}
}

// The one key of RFC 7143 whose name starts with a small letter.
func TestTextProtocolLevel(t *testing.T) {
	if got, err := ParseText([]byte("iSCSIProtocolLevel=1\x00")); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
	c := newClient(t)
	c.want("13", names+"iSCSIProtocolLevel=2", "3", "TargetPortalGroupTag=3 iSCSIProtocolLevel=1 MaxRecvDataSegmentLength=262144")
}

func FuzzText(f *testing.F) {
	f.Add([]byte("InitiatorName=iqn.a\x00SessionType=Normal\x00CHAP_N=0x41\x00"))
	f.Add([]byte("A=\x00\x00B=c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := ParseText(b)
		if err != nil {
			return
		}
		wire := keys.Append(nil)
		if len(wire) > len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(wire))
		}
		again, err := ParseText(wire)
		if err != nil || !slices.Equal(again, keys) {
			t.Fatalf("%q came back as %q, %v", keys, again, err)
		}
	})
}
