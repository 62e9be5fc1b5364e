package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"sango/test/harness"
)

// test is one test of iscsi-test-cu.
type test struct {
	name    string // Family.Test
	pattern string // what -t takes to run it alone
}

func (t test) family() string {
	f, _, _ := strings.Cut(t.name, ".")
	return f
}

// list asks iscsi-test-cu for its tests. The same family stands there under several suites (ALL, SCSI, LINUX ...), and
// none of these has all: each test is taken once, where it is met first.
func list(ctx context.Context) ([]test, error) {
	out, err := harness.Run(ctx, time.Minute, "iscsi-test-cu", "-l")
	if err != nil {
		return nil, err
	}
	return parseList(out), nil
}

func parseList(out string) []test {
	var tests []test
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		suite, name, ok := strings.Cut(strings.TrimSpace(line), ".")
		if !ok || strings.Count(name, ".") != 1 || seen[name] {
			continue
		}
		seen[name] = true
		tests = append(tests, test{name: name, pattern: suite + "." + name})
	}
	return tests
}

// choose keeps the tests that match one of the patterns: Family, Family.Test, or a shell pattern of either.
func choose(tests []test, patterns []string) ([]test, error) {
	if len(patterns) == 0 {
		return tests, nil
	}
	used := make([]bool, len(patterns))
	var chosen []test
	for _, t := range tests {
		hit := false
		for i, p := range patterns {
			whole, err := path.Match(p, t.name)
			if err != nil {
				return nil, fmt.Errorf("pattern %q: %w", p, err)
			}
			family, _ := path.Match(p, t.family())
			if whole || family {
				hit, used[i] = true, true
			}
		}
		if hit {
			chosen = append(chosen, t)
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		return nil, fmt.Errorf("no test matches %q; iscsi-test-cu -l lists them", patterns[i])
	}
	return chosen, nil
}

// kind is a kind of logical unit that some tests need.
type kind string

const (
	thin      kind = "thin"      // writable, thin, several logical blocks to a physical one, below 1 GiB
	aligned   kind = "aligned"   // the same with one logical block to a physical one
	readOnly  kind = "read-only" // thin and write-protected
	removable kind = "removable" // its medium can be ejected
	chap      kind = "chap"      // behind an account whose name looks like a number
	twoPaths  kind = "two-paths" // thin, through two portals
)

// kinds are all of them, for messages.
var kinds = []kind{thin, aligned, readOnly, removable, chap, twoPaths}

// kindFor says which kind of logical unit a test must meet to run in full.
func kindFor(t test) kind {
	switch {
	case t.name == "GetLBAStatus.UnmapSingle": // unmaps a single logical block, and skips where LBPPBE is not 0
		return aligned
	case t.family() == "ReadOnly":
		return readOnly
	case t.family() == "NoMedia", t.family() == "PreventAllow", t.family() == "StartStopUnit":
		return removable
	case t.family() == "MultipathIO":
		return twoPaths
	case strings.HasPrefix(t.name, "iSCSI"): // transport tests: through a login with CHAP
		return chap
	}
	return thin
}

// longFirst orders tests so that the ones that wait for minutes start first and run beside the rest.
func longFirst(tests []test) []test {
	long := func(t test) int {
		switch {
		case t.name == "Sanitize.Reset":
			return 0
		case t.family() == "Sanitize":
			return 1
		}
		return 2
	}
	tests = slices.Clone(tests)
	slices.SortStableFunc(tests, func(a, b test) int { return long(a) - long(b) })
	return tests
}
