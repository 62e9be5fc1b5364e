package gateway

import (
	"strings"
	"testing"
)

// Who has a directory, and what its start waits for, is known to others, who
// don't keep a start from taking the lock.
func TestHolder(t *testing.T) {
	dir := subdir(t, "d")
	if err := Unanswered(dir); err != nil {
		t.Errorf("where nothing is: %v", err)
	}
	l, err := TakeLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Unanswered(dir); err == nil || !strings.Contains(err.Error(), "starts or ends") {
		t.Errorf("where it waits for nothing that is known: %v", err)
	}
	l.Note("a majority: gw2 does not answer")
	if err := Unanswered(dir); err == nil || !strings.HasSuffix(err.Error(), "is starting, and waits for a majority: gw2 does not answer") {
		t.Errorf("where it waits: %v", err)
	}
	for _, f := range Examine(t.Context(), dir, "", []string{"127.0.0.1:1"}, false) {
		if f.Check == "lock" || strings.HasPrefix(f.Check, "portal") || f.Check == "node" && !strings.Contains(f.Detail, "gw2") {
			t.Errorf("doctor: %+v", f)
		}
	}
	l.Note("")
	if h, ok := Holder(dir); !ok || h.Waits != "" {
		t.Errorf("when it is over: %+v, %v", h, ok)
	}
	l.Release()
	if h, ok := Holder(dir); ok {
		t.Errorf("when nobody has it: %+v", h)
	}
	if l, err = TakeLock(dir); err != nil {
		t.Fatal(err)
	}
	l.Release()
}
