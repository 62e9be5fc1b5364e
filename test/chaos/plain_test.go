package main

import (
	"testing"

	"sango/test/chaos/history"
)

// A nexus may have ended before it was told of a conflict.
func TestAConflictIsNoSignOfLife(t *testing.T) {
	p := &path{alive: map[string]int64{}, up: 1}
	for _, o := range []*history.Op{
		{Volume: "rsix:43", Call: 5, Outcome: history.Good},
		{Volume: "rsix:43", Call: 7, Outcome: history.Conflict},
	} {
		p.answered(o)
	}
	end := p.ending(9)
	if from := end.from("rsix"); from != 5 {
		t.Errorf("it can have ended from %d on, not from 5 on", from)
	}
}
