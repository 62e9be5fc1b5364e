package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed exceptions.txt
var exceptionsFile string

// exception is a test that may end otherwise than with a pass, on one block size.
type exception struct {
	block  int
	test   string
	out    outcome
	says   string // part of what the suite says
	reason string
}

func parseExceptions(s string) ([]exception, error) {
	var all []exception
	n := 0
	for line := range strings.Lines(s) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "|")
		if len(f) != 5 {
			return nil, fmt.Errorf("exceptions.txt, line %d: want five fields with | between them, have %d", n, len(f))
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		e := exception{test: f[1], out: outcome(f[2]), says: f[3], reason: f[4]}
		if !slices.Contains([]outcome{fail, skip, part}, e.out) || e.says == "" || e.reason == "" {
			return nil, fmt.Errorf("exceptions.txt, line %d: want fail, skip or part, what the suite says, and a reason", n)
		}
		for b := range strings.SplitSeq(f[0], ",") {
			block, err := strconv.Atoi(b)
			if err != nil {
				return nil, fmt.Errorf("exceptions.txt, line %d: block size %q", n, b)
			}
			e.block = block
			all = append(all, e)
		}
	}
	return all, nil
}

// excused returns the exception that covers a result, if there is one.
func excused(all []exception, r result) (exception, bool) {
	for _, e := range all {
		if e.block == r.block && e.test == r.test.name && e.out == r.out && strings.Contains(r.reason, e.says) {
			return e, true
		}
	}
	return exception{}, false
}
