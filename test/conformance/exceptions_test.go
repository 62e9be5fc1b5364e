package main

import "testing"

func TestExceptionsFile(t *testing.T) {
	all, err := parseExceptions(exceptionsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if _, ok := excused(all, result{block: e.block, test: test{name: e.test}, out: e.out, reason: "x.c:1: " + e.says}); !ok {
			t.Errorf("%v does not cover itself", e)
		}
		if _, ok := excused(all, result{block: e.block, test: test{name: e.test}, out: e.out, reason: "else"}); ok {
			t.Errorf("%v covers what it does not name", e)
		}
		if _, ok := excused(all, result{block: e.block + 1, test: test{name: e.test}, out: e.out, reason: e.says}); ok {
			t.Errorf("%v covers another block size", e)
		}
	}
}

func TestExceptionsNeedAReason(t *testing.T) {
	for _, s := range []string{"512 | A.B | skip | a |", "512 | A.B | skip", "512 | A.B | pass | a | x", "x | A.B | skip | a | y", "512 | A.B | skip | | x"} {
		if all, err := parseExceptions(s); err == nil {
			t.Errorf("%q was taken as %v", s, all)
		}
	}
}
