package main

import (
	"strings"
	"testing"
)

func TestModel(t *testing.T) {
	m := newModel(7, 8*slotSize)
	b := make([]byte, slotSize)
	m.sent(2, 2, 5)
	m.done(2, 2, 5)
	m.sent(3, 1, 6) // in flight for ever
	m.sent(4, 1, 7)

	old := m.clone()
	for _, c := range []struct {
		name string
		slot int
		in   version // what the volume holds
		at   int     // taken from this slot
		want string  // part of the complaint
	}{
		{"never written", 0, 0, 0, ""},
		{"acknowledged", 2, 5, 2, ""},
		{"in flight did not land", 3, 5, 3, ""},
		{"in flight landed", 4, 7, 4, ""},
		{"acknowledged is lost", 2, 0, 2, "zeros"},
		{"an older version came back", 4, 6, 4, "version 6 of slot 4"},
		{"the right version at the wrong place", 2, 5, 3, "version 5 of slot 3"},
	} {
		m.fill(b, c.at, c.in)
		err := m.check(c.slot, b)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// What was found is what must stay.
	m.fill(b, 4, 0)
	if err := m.check(4, b); err == nil {
		t.Error("a write that had landed may go away again")
	}
	// Half a slot is nobody's.
	m.fill(b, 2, 5)
	clear(b[2048:])
	if err := m.check(2, b); err == nil || !strings.Contains(err.Error(), "part of version 5") {
		t.Errorf("torn slot: %v", err)
	}
	// A snapshot has nothing in flight.
	m.fill(b, 4, 7)
	if err := old.check(4, b); err == nil {
		t.Error("the snapshot took a write that was in flight")
	}
}
