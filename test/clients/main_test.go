package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSmallReads(t *testing.T) {
	got := smallReads("read -P 0x5a 1M 1M")
	if len(got) != 64 {
		t.Fatalf("%d reads", len(got))
	}
	if d := cmp.Diff("read -P 90 1048576 16384", got[0]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("read -P 90 2080768 16384", got[len(got)-1]); d != "" {
		t.Error(d)
	}
	for _, other := range []string{"write -P 0x5a 0 4M", "read -P 0x5a 0M 16k"} {
		if d := cmp.Diff([]string{other}, smallReads(other)); d != "" {
			t.Error(d)
		}
	}
}
