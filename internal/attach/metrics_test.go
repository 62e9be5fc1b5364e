package attach

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Dashboards and alerts of others know the metrics by their names: a change
// shows here, and the page for users has to follow.
func TestMetricNames(t *testing.T) {
	var got strings.Builder
	for _, m := range metrics {
		fmt.Fprintf(&got, "%s %s attachment", m.kind, m.name)
		for _, l := range m.labels {
			got.WriteString(" " + l)
		}
		fmt.Fprintf(&got, ": %s\n", m.help)
	}
	want, err := os.ReadFile("testdata/metrics.golden")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Error(d)
	}
	page, err := os.ReadFile("../../docs/host.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range metrics {
		if !strings.Contains(string(page), "`"+m.name+"`") {
			t.Errorf("docs/host.md does not tell of %s", m.name)
		}
	}
}
