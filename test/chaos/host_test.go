package main

import (
	"errors"
	"path/filepath"
	"testing"

	"sango/internal/block"
	"sango/test/chaos/history"
)

// A change that the device sent again may have taken effect each time, also if
// the last time it was answered with an error: half of it may be on a full disk.
func TestChangeIsEachOfItsTransmissions(t *testing.T) {
	rec, err := history.NewRecorder(filepath.Join(t.TempDir(), "history"), history.Header{})
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{host: &host{load: &load{rec: rec}}}
	full := &block.Error{Class: block.NoSpace, Err: errors.New("no space")}
	for _, c := range []struct {
		name       string
		err        error
		retries    uint64
		over, open int
		last       history.Outcome // of the transmission that was answered
	}{
		{"answered", nil, 0, 1, 0, history.Good},
		{"sent again, and answered", nil, 1, 2, 0, history.Good},
		{"answered with an error", full, 0, 1, 0, history.Unknown},
		{"sent again, and answered with an error", full, 1, 2, 0, history.Unknown},
		{"sent again often", nil, 1000, 1 + mostCopies, 0, history.Good},
		{"not answered", errors.New("it died"), 0, 0, 2, history.Unknown},
	} {
		o := &history.Op{ID: rec.NextID(), Kind: history.Write, Outcome: history.Good, Call: 1, Return: 5}
		over, open := d.sent(o, c.err, c.retries)
		if len(over) != c.over || len(open) != c.open || o.Outcome != c.last {
			t.Errorf("%s: %d are over, %d open, the last one %s; want %+v", c.name, len(over), len(open), o.Outcome, c)
		}
		for _, x := range over {
			if x.Outcome == history.Unknown && (x.Bound != 5 || !x.Strict) {
				t.Errorf("%s: %v may take effect after the answer", c.name, x)
			}
		}
	}
}
