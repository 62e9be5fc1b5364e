package iscsi

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// pairs reads "A=1 B=2".
func pairs(s string) Keys {
	var k Keys
	for _, f := range strings.Fields(s) {
		key, value, _ := strings.Cut(f, "=")
		k = append(k, Pair{key, value})
	}
	return k
}

func show(k Keys) string {
	var s []string
	for _, p := range k {
		s = append(s, p.Key+"="+p.Value)
	}
	return strings.Join(s, " ")
}

func testLimits() Limits {
	l := DefaultLimits()
	l.MaxConnections = 4
	l.MaxBurstLength = 1 << 20
	l.FirstBurstLength = 128 << 10
	l.MaxOutstandingR2T = 8
	l.DefaultTime2Wait = 5
	l.DefaultTime2Retain = 10
	return l
}

func TestNegotiate(t *testing.T) {
	for _, c := range []struct{ offer, answer string }{
		{"HeaderDigest=CRC32C,None", "HeaderDigest=CRC32C"},
		{"HeaderDigest=None,CRC32C", "HeaderDigest=None"}, // the initiator's order
		{"DataDigest=X-other,CRC32C", "DataDigest=CRC32C"},
		{"DataDigest=X-other", "DataDigest=Reject"},
		{"DataDigest=", "DataDigest=Reject"},
		{"MaxConnections=1", "MaxConnections=1"}, // never more than offered
		{"MaxConnections=8", "MaxConnections=4"},
		{"MaxConnections=0", "MaxConnections=Reject"},
		{"MaxConnections=65536", "MaxConnections=Reject"},
		{"InitialR2T=No", "InitialR2T=No"},
		{"InitialR2T=Yes", "InitialR2T=Yes"},
		{"InitialR2T=maybe", "InitialR2T=Reject"},
		{"ImmediateData=Yes", "ImmediateData=Yes"},
		{"ImmediateData=No", "ImmediateData=No"},
		{"MaxRecvDataSegmentLength=65536", ""},
		{"MaxRecvDataSegmentLength=511", "MaxRecvDataSegmentLength=Reject"},
		{"MaxRecvDataSegmentLength=16777216", "MaxRecvDataSegmentLength=Reject"},
		{"MaxBurstLength=16776192", "MaxBurstLength=1048576"},
		{"MaxBurstLength=0x1000", "MaxBurstLength=4096"},
		{"MaxBurstLength=511", "MaxBurstLength=Reject"},
		{"MaxBurstLength=512~4096", "MaxBurstLength=Reject"}, // ranges are not for this key
		{"FirstBurstLength=262144", "FirstBurstLength=131072"},
		{"FirstBurstLength=262144 MaxBurstLength=65536", "FirstBurstLength=65536 MaxBurstLength=65536"},
		{"FirstBurstLength=65536 InitialR2T=Yes ImmediateData=No", "FirstBurstLength=Irrelevant InitialR2T=Yes ImmediateData=No"},
		{"FirstBurstLength=1 MaxBurstLength=512", "FirstBurstLength=Reject MaxBurstLength=512"},
		{"DefaultTime2Wait=0", "DefaultTime2Wait=5"},
		{"DefaultTime2Wait=3600", "DefaultTime2Wait=3600"},
		{"DefaultTime2Wait=3601", "DefaultTime2Wait=Reject"},
		{"DefaultTime2Retain=0", "DefaultTime2Retain=0"},
		{"DefaultTime2Retain=20", "DefaultTime2Retain=10"},
		{"MaxOutstandingR2T=1", "MaxOutstandingR2T=1"},
		{"MaxOutstandingR2T=16", "MaxOutstandingR2T=8"},
		{"DataPDUInOrder=No", "DataPDUInOrder=Yes"},
		{"DataSequenceInOrder=No", "DataSequenceInOrder=Yes"},
		{"ErrorRecoveryLevel=0", "ErrorRecoveryLevel=0"},
		{"ErrorRecoveryLevel=2", "ErrorRecoveryLevel=0"},
		{"ErrorRecoveryLevel=3", "ErrorRecoveryLevel=Reject"},
		{"TaskReporting=FastAbort,RFC3720", "TaskReporting=RFC3720"},
		{"TaskReporting=FastAbort", "TaskReporting=Reject"},
		{"iSCSIProtocolLevel=0", "iSCSIProtocolLevel=0"},
		{"iSCSIProtocolLevel=2", "iSCSIProtocolLevel=1"},
		{"IFMarker=No OFMarker=Yes", "IFMarker=No OFMarker=No"},
		{"IFMarkInt=2048~8192 OFMarkInt=1", "IFMarkInt=Reject OFMarkInt=Reject"},
		{"X-com.example.key=1 RDMAExtensions=Yes", "X-com.example.key=NotUnderstood RDMAExtensions=NotUnderstood"},
		{"X#NodeArchitecture=Linux", "X#NodeArchitecture=NotUnderstood"},
		{"InitiatorAlias=box", ""},
		{"TargetAlias=mine", "TargetAlias=Reject"},       // a target's to declare
		{"TargetAlias=NotUnderstood", ""},                // an answer to ours
		{"TargetPortalGroupTag=Irrelevant", ""},          // likewise
		{"SendTargets=All", "SendTargets=NotUnderstood"}, // the caller's to take out
		{"InitiatorName=iqn.a TargetName=iqn.b SessionType=Normal", ""},
		{"InitiatorName=", "InitiatorName=Reject"},
		{"SessionType=Other", "SessionType=Reject"},
		{"MaxBurstLength=" + strings.Repeat("1", MaxValue+1), "MaxBurstLength=Reject"},
	} {
		n := NewNegotiation(testLimits())
		got, err := n.Answer(pairs(c.offer), PhaseOperational)
		if err != nil || show(got) != c.answer {
			t.Errorf("%s: answered %q, want %q, %v", clip(c.offer), show(got), c.answer, err)
		}
	}
}

func TestNegotiatedParams(t *testing.T) {
	n := NewNegotiation(testLimits())
	_, err := n.Answer(pairs(`InitiatorName=iqn.a InitiatorAlias=box TargetName=iqn.b SessionType=Normal HeaderDigest=CRC32C DataDigest=CRC32C,None
		MaxConnections=2 InitialR2T=No ImmediateData=Yes MaxRecvDataSegmentLength=1024 FirstBurstLength=65536 MaxBurstLength=131072
		DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=4 ErrorRecoveryLevel=0 iSCSIProtocolLevel=0`), PhaseOperational)
	if err != nil {
		t.Fatal(err)
	}
	want := Params{
		InitiatorName: "iqn.a", InitiatorAlias: "box", TargetName: "iqn.b", HeaderDigest: true, DataDigest: true, MaxConnections: 2,
		ImmediateData: true, MaxBurstLength: 131072, FirstBurstLength: 65536, MaxOutstandingR2T: 4, DefaultTime2Wait: 5,
		DataPDUInOrder: true, DataSequenceInOrder: true, MaxSend: 1024, MaxRecv: 8192,
	}
	if got := n.Outcome(); got != want {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

// A Reject leaves what was in force.
func TestRejectChangesNothing(t *testing.T) {
	n := NewNegotiation(testLimits())
	if _, err := n.Answer(pairs("HeaderDigest=none DataDigest=crc MaxBurstLength=1 InitialR2T=no MaxRecvDataSegmentLength=x ErrorRecoveryLevel=9"), PhaseOperational); err != nil {
		t.Fatal(err)
	}
	if got := n.Outcome(); got != DefaultParams() {
		t.Errorf("%+v", got)
	}
}

// FirstBurstLength is kept below MaxBurstLength even when they come in
// different texts.
func TestFirstBurstAcrossTexts(t *testing.T) {
	n := NewNegotiation(testLimits())
	for _, offer := range []string{"FirstBurstLength=65536", "MaxBurstLength=4096"} {
		if _, err := n.Answer(pairs(offer), PhaseOperational); err != nil {
			t.Fatal(err)
		}
	}
	if p := n.Outcome(); p.FirstBurstLength != 4096 {
		t.Errorf("first burst %d, max burst %d", p.FirstBurstLength, p.MaxBurstLength)
	}
}

func TestDiscoveryIrrelevant(t *testing.T) {
	irrelevant := "MaxConnections=1 InitialR2T=Yes ImmediateData=Yes MaxBurstLength=512 FirstBurstLength=512 MaxOutstandingR2T=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes TaskReporting=RFC3720 iSCSIProtocolLevel=1"
	n := NewNegotiation(testLimits())
	got, err := n.Answer(pairs("SessionType=Discovery HeaderDigest=None DefaultTime2Wait=0 ErrorRecoveryLevel=0 "+irrelevant), PhaseOperational)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pairs(irrelevant) {
		if v, _ := got.Get(p.Key); v != ValueIrrelevant {
			t.Errorf("%s=%s in a discovery session", p.Key, v)
		}
	}
	if v, _ := got.Get("HeaderDigest"); v != "None" {
		t.Errorf("HeaderDigest=%s", v)
	}
	if v, _ := got.Get("ErrorRecoveryLevel"); v != "0" {
		t.Errorf("ErrorRecoveryLevel=%s", v)
	}
}

func TestNegotiationErrors(t *testing.T) {
	for _, texts := range [][]string{
		{"MaxBurstLength=512 MaxBurstLength=512"},
		{"MaxBurstLength=512", "MaxBurstLength=1024"},
		{"X-key=1", "X-key=1"},
		{"MaxBurstLength=Reject"},
		{"HeaderDigest=NotUnderstood"},
		{"ErrorRecoveryLevel=Irrelevant"},
	} {
		n := NewNegotiation(testLimits())
		var err error
		for _, s := range texts {
			if _, err = n.Answer(pairs(s), PhaseOperational); err != nil {
				break
			}
		}
		if err == nil {
			t.Errorf("%q was taken", texts)
		}
	}
}

func TestUnknownKeysAreBounded(t *testing.T) {
	n := NewNegotiation(testLimits())
	var in Keys
	for i := range maxUnknown {
		in.add(fmt.Sprintf("X-%d", i), "1")
	}
	out, err := n.Answer(in, PhaseOperational)
	if err != nil || len(out) != maxUnknown {
		t.Fatalf("%d answers, %v", len(out), err)
	}
	if _, err := n.Answer(pairs("X-more=1"), PhaseOperational); err == nil {
		t.Error("one more was taken")
	}
}

// In the security stage nothing but names, aliases and
// MaxRecvDataSegmentLength may come.
func TestKeysByStage(t *testing.T) {
	early := []string{KeyInitiatorName, KeyTargetName, KeyTargetAlias, KeyInitiatorAlias, KeyTargetAddress, KeyTargetPortalGroupTag, KeyMaxRecvSegment, KeySessionType}
	full := []string{KeyMaxRecvSegment, KeyInitiatorAlias, KeyTargetAlias, KeyTargetAddress}
	for i := range keyTable {
		k := &keyTable[i]
		if got, want := k.allowed(PhaseSecurity), slices.Contains(early, k.name); got != want {
			t.Errorf("%s in the security stage: %v", k.name, got)
		}
		if !k.allowed(PhaseOperational) {
			t.Errorf("%s not in the operational stage", k.name)
		}
		if got, want := k.allowed(PhaseFull), slices.Contains(full, k.name); got != want {
			t.Errorf("%s in full feature phase: %v", k.name, got)
		}
		if k.take == nil && !k.target {
			t.Errorf("%s has no rule", k.name)
		}
		if slices.IndexFunc(keyTable[:], func(o keySpec) bool { return o.name == k.name }) != i {
			t.Errorf("%s is there twice", k.name)
		}
	}
	if _, err := NewNegotiation(testLimits()).Answer(pairs("MaxBurstLength=512"), PhaseSecurity); err == nil {
		t.Error("MaxBurstLength was taken in the security stage")
	}
}

func TestRenegotiate(t *testing.T) {
	p := DefaultParams()
	n := Renegotiate(p)
	got, err := n.Answer(pairs("MaxRecvDataSegmentLength=4096 MaxBurstLength=512 HeaderDigest=CRC32C"), PhaseFull)
	if err != nil || show(got) != "MaxBurstLength=Reject HeaderDigest=Reject" {
		t.Errorf("%s, %v", show(got), err)
	}
	p.MaxSend = 4096
	if n.Outcome() != p {
		t.Errorf("%+v", n.Outcome())
	}
	if out := n.Declare(nil); len(out) != 0 {
		t.Errorf("declared %s", show(out))
	}
}

func TestDeclareOnce(t *testing.T) {
	l := testLimits()
	l.MaxRecv = 65536
	n := NewNegotiation(l)
	if got := show(n.Declare(nil)); got != "MaxRecvDataSegmentLength=65536" {
		t.Error(got)
	}
	if got := show(n.Declare(nil)); got != "" {
		t.Error(got)
	}
	if n.Outcome().MaxRecv != 65536 {
		t.Error(n.Outcome().MaxRecv)
	}
	l.MaxRecv = 1
	if got := show(NewNegotiation(l).Declare(nil)); got != "MaxRecvDataSegmentLength=512" {
		t.Error(got)
	}
}

// Whatever comes, the outcome stays within the limits and the ranges of
// RFC 7143 §13, and the answer stays in proportion to the offer.
func FuzzNegotiation(f *testing.F) {
	f.Add([]byte("HeaderDigest=CRC32C,None\x00MaxBurstLength=0xffff\x00FirstBurstLength=512\x00InitialR2T=No\x00"), uint8(1))
	f.Add([]byte("SessionType=Discovery\x00MaxConnections=1\x00"), uint8(0))
	f.Add([]byte("MaxRecvDataSegmentLength=512\x00IFMarkInt=1~2\x00"), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, phase uint8) {
		keys, err := ParseText(b)
		if err != nil {
			return
		}
		n := NewNegotiation(testLimits())
		out, err := n.Answer(keys, Phase(phase%3))
		if err != nil {
			return
		}
		if len(out) > len(keys) {
			t.Fatalf("%d answers to %d keys", len(out), len(keys))
		}
		if again, err := ParseText(out.Append(nil)); err != nil || !slices.Equal(again, out) {
			t.Fatalf("the answer %s is no text: %v", show(out), err)
		}
		p := n.Outcome()
		if p.MaxSend < minSegment || p.MaxSend > maxSegment || p.MaxBurstLength < minSegment || p.MaxBurstLength > 1<<20 ||
			p.FirstBurstLength < minSegment || p.FirstBurstLength > p.MaxBurstLength || p.MaxOutstandingR2T < 1 || p.MaxOutstandingR2T > 8 ||
			p.ErrorRecoveryLevel != 0 || p.MaxConnections < 1 || p.MaxConnections > 4 || p.ProtocolLevel > 1 || !p.DataPDUInOrder ||
			p.DefaultTime2Wait > maxTimeout || p.DefaultTime2Retain > maxTimeout {
			t.Fatalf("out of bounds: %+v", p)
		}
	})
}
