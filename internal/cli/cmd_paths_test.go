package cli

import (
	"strings"
	"testing"

	"sango/internal/attach"
	"sango/internal/multipath"
)

// A path shows what is so now: no former errors of one that is up, and no port
// group of one that is lost.
func TestPathTable(t *testing.T) {
	s := attach.Status{Info: attach.Info{Name: "d"}, Multipath: &multipath.View{Paths: []multipath.PathView{
		{Portal: "192.0.2.1:3260", State: multipath.PathUp, ALUA: "active/optimized", Errors: 2, Error: "it was drained"},
		{Portal: "192.0.2.2:3260", State: multipath.PathDown, ALUA: "active/non-optimized", Errors: 3, Error: "connection refused"},
	}}}
	var b strings.Builder
	pathTable(&b, []attach.Status{s})
	if got := b.String(); strings.Contains(got, "drained") || strings.Contains(got, "down,") || !strings.Contains(got, "up, active/optimized") || !strings.Contains(got, "3 connection refused") {
		t.Error(got)
	}
}
