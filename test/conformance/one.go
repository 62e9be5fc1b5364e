package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// outcome is how a test went.
type outcome string

const (
	pass outcome = "pass"
	fail outcome = "fail"
	skip outcome = "skip" // the test skipped itself
	part outcome = "part" // it passed, but says that it left something out
)

// result is one test on one block size.
type result struct {
	test   test
	block  int
	kind   kind
	out    outcome
	reason string // what failed or was skipped
	log    string // file with everything the tester wrote
	took   time.Duration
}

// tester runs single tests.
type tester struct {
	shim    string        // the LD_PRELOAD library
	logs    string        // directory for output
	timeout time.Duration // for one test: synchronous commands of iscsi-test-cu have none
	echo    io.Writer     // gets the output as well, if not nil
}

// run runs one test in a process of its own: in one process a lost session or a left reservation spills into the next.
func (r *tester) run(ctx context.Context, t test, block int, k kind, urls []string) result {
	res := result{test: t, block: block, kind: k}
	base := filepath.Join(r.logs, fmt.Sprintf("%d", block), t.name)
	res.log = base + ".log"
	trace := base + ".trace"
	start := time.Now()
	output, err := r.exec(ctx, t, urls, res.log, trace)
	res.took = time.Since(start)
	traced, terr := os.ReadFile(trace)
	if terr != nil && !errors.Is(terr, os.ErrNotExist) {
		err = errors.Join(err, terr)
	}
	res.out, res.reason = judge(output, string(traced), err)
	return res
}

func (r *tester) exec(ctx context.Context, t test, urls []string, log, trace string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return "", err
	}
	if err := os.Remove(trace); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	f, err := os.Create(log)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var buf strings.Builder
	w := io.MultiWriter(f, &buf)
	if r.echo != nil {
		w = io.MultiWriter(w, r.echo)
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "iscsi-test-cu", append([]string{"-d", "-S", "-v", "-V", "-t", t.pattern}, urls...)...)
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+r.shim, "CU_TRACE="+trace)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no end within %v", r.timeout)
	}
	return buf.String(), err
}

// CUnit's summary: what kind, total, ran, passed, failed.
var ran = regexp.MustCompile(`(?m)^\s*(tests|asserts)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)`)

// judge makes the outcome from everything that is known. CUnit counts a skip as a pass, the exit status is 0 also when
// no test ran, and what a test leaves out is only printed.
func judge(output, trace string, err error) (outcome, string) {
	var skips, fails, parts []string
	for line := range strings.Lines(trace) {
		what, where, _ := strings.Cut(strings.TrimSpace(line), "\t")
		where = strings.ReplaceAll(where, "\t", ": ")
		switch what {
		case "fail":
			fails = append(fails, where)
		case "skip":
			skips = append(skips, where)
		}
	}
	for line := range strings.Lines(output) {
		if strings.Contains(line, "[SKIPP") {
			parts = append(parts, strings.TrimSpace(line))
		}
	}
	counts := map[string]string{}
	for _, m := range ran.FindAllStringSubmatch(output, -1) {
		counts[m[1]] = m[3]
	}
	switch {
	case len(fails) > 0:
		return fail, fails[0]
	case err != nil:
		return fail, err.Error() + ": " + lastLine(output)
	case counts["tests"] != "1":
		return fail, "the test did not run: " + lastLine(output)
	case len(skips) > 0:
		return skip, skips[0]
	case counts["asserts"] == "0" && len(parts) > 0:
		return skip, parts[0]
	case counts["asserts"] == "0" && strings.Contains(output, "[WARNING]"):
		return fail, "it warns instead of asserting: " + lineWith(output, "[WARNING]")
	case counts["asserts"] == "0" && !strings.Contains(output, "[SUCCESS]"):
		return skip, "it ended without testing anything"
	case len(parts) > 0:
		return part, strings.Join(parts, "; ")
	}
	return pass, ""
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func lineWith(s, part string) string {
	for line := range strings.Lines(s) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
