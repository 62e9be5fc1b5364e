package main

import (
	"slices"
	"testing"
)

const clean = `
(Spin Version 6.5.2 -- 6 December 2019)

State-vector 52 byte, depth reached 64, errors: 0
     3981 states, stored
unreached in proctype Host
	nexus.pml:65, state 11, "-end-"
	(1 of 11 states)
unreached in init
	(0 of 5 states)
`

func TestParse(t *testing.T) {
	r := parse(clean)
	if r.states != 3981 || r.depth != 64 || r.errors != 0 || !r.complete {
		t.Fatalf("%+v", r)
	}
	if want := []string{`nexus.pml:65, state 11, "-end-"`}; !slices.Equal(r.unreached, want) {
		t.Fatalf("%q", r.unreached)
	}
	if err := (check{}).judge(r); err != nil {
		t.Fatal(err)
	}
	if err := (check{finds: true}).judge(r); err == nil {
		t.Fatal("a defence was taken away and nothing found, which passed")
	}
}

func TestIncompleteFails(t *testing.T) {
	for _, out := range []string{
		"", "Warning: Search not completed\n" + clean, clean + "\nerror: max search depth too small\n",
		clean + "\tnexus.pml:70, state 3, \"wire = 1\"\n",
	} {
		if err := (check{}).judge(parse(out)); err == nil {
			t.Errorf("%q passed", out)
		}
	}
}
