package main

import (
	"errors"
	"strings"
	"testing"
)

func summary(tests, asserts string) string {
	return "Run Summary:    Type  Total    Ran Passed Failed Inactive\n" +
		"              suites      1      1    n/a      0        0\n" +
		"               tests      1      " + tests + "      1      0        0\n" +
		"             asserts      3      " + asserts + "      3      0      n/a\n"
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name, output, trace string
		err                 error
		want                outcome
		reason              string // part of it
	}{
		{"passes", summary("1", "3"), "", nil, pass, ""},
		{"fails", summary("1", "3"), "fail\tx.c:1\tret == 0\n", errors.New("exit status 1"), fail, "x.c:1: ret == 0"},
		{"skips silently", summary("1", "3"), "skip\tx.c:1\tCU_PASS(\"no\")\n", nil, skip, "x.c:1"},
		{"leaves something out", "  [SKIPPED] not here\n" + summary("1", "3"), "", nil, part, "not here"},
		{"leaves all out", "  [SKIPPED] not here\n" + summary("1", "0"), "", nil, skip, "not here"},
		{"skips what it says is a failure too", summary("1", "3"), "skip\ta\tb\nfail\tc\td\n", nil, fail, "c: d"},
		{"names what it passes over", "    skipping non-LU designator: 1\n" + summary("1", "3"), "", nil, pass, ""},
		{"does not run", summary("0", "0"), "", nil, fail, "did not run"},
		{"writes nothing", "", "", nil, fail, "did not run"},
		{"hangs", "", "", errors.New("no end within 1s"), fail, "no end"},
		{"looks at nothing", summary("1", "0"), "", nil, skip, "without testing"},
		{"only prints what is well", "  [SUCCESS] LBPU is set.\n" + summary("1", "0"), "", nil, pass, ""},
		{"only prints what is wrong", " [SUCCESS] a\n [WARNING] no SBC\n" + summary("1", "0"), "", nil, fail, "no SBC"},
	} {
		got, reason := judge(c.output, c.trace, c.err)
		if got != c.want || !strings.Contains(reason, c.reason) {
			t.Errorf("a test that %s: %s, %q", c.name, got, reason)
		}
	}
}
