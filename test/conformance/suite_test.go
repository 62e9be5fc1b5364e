package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const listing = `ALL
ALL.Unmap
ALL.Unmap.Simple
ALL.Unmap.VPD
ALL.iSCSITMF.AbortTaskSimpleAsync
SCSI
SCSI.Unmap
SCSI.Unmap.Simple
SCSI.Sanitize.Reset
`

func names(tests []test) []string {
	var n []string
	for _, t := range tests {
		n = append(n, t.name)
	}
	return n
}

func TestListTakesEachTestOnce(t *testing.T) {
	tests := parseList(listing)
	want := []string{"Unmap.Simple", "Unmap.VPD", "iSCSITMF.AbortTaskSimpleAsync", "Sanitize.Reset"}
	if d := cmp.Diff(want, names(tests)); d != "" {
		t.Error(d)
	}
	if p := tests[3].pattern; p != "SCSI.Sanitize.Reset" {
		t.Errorf("pattern of a test that ALL lacks: %s", p)
	}
	if n := longFirst(tests)[0].name; n != "Sanitize.Reset" {
		t.Errorf("starts with %s", n)
	}
}

func TestChoose(t *testing.T) {
	all := parseList(listing)
	for _, c := range []struct {
		patterns, want []string
	}{
		{nil, names(all)},
		{[]string{"Unmap"}, []string{"Unmap.Simple", "Unmap.VPD"}},
		{[]string{"Unmap.VPD"}, []string{"Unmap.VPD"}},
		{[]string{"*.S*"}, []string{"Unmap.Simple"}},
		{[]string{"iSCSI*", "San*"}, []string{"iSCSITMF.AbortTaskSimpleAsync", "Sanitize.Reset"}},
	} {
		got, err := choose(all, c.patterns)
		if err != nil {
			t.Errorf("%v: %v", c.patterns, err)
		}
		if d := cmp.Diff(c.want, names(got)); d != "" {
			t.Errorf("%v: %s", c.patterns, d)
		}
	}
	if _, err := choose(all, []string{"Unmap", "Umnap.VPD"}); err == nil {
		t.Error("a pattern without a test was taken")
	}
}

func TestEveryKindIsUsed(t *testing.T) {
	used := map[kind]bool{}
	for _, n := range []string{
		"Read10.Simple", "GetLBAStatus.UnmapSingle", "ReadOnly.ReadOnlySBC", "NoMedia.NoMediaSBC", "iSCSIcmdsn.TooLow",
		"MultipathIO.Reset",
	} {
		used[kindFor(test{name: n})] = true
	}
	if len(used) != len(kinds) {
		t.Errorf("%d of %d kinds are used", len(used), len(kinds))
	}
}
