// Command spin has the model checker spin look at the Promela models beside it: ownership.pml (at most one writer) and
// nexus.pml (no write after its nexus was fenced). Each model must hold in all of its states, and have no statement that
// is never reached. With a defence taken away (-D NO_...) spin must find an error, or the model would not see what the
// defence is for; with -D REACH_... what is named there must be reachable.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sango/test/harness"
)

// check is one run of spin.
type check struct {
	model   string
	defines []string
	finds   bool // an error
	what    string
}

var checks = []check{
	{"ownership", nil, false, "at most one writer, R2 and R3 together, writes that linger"},
	{"ownership", []string{"NO_R2"}, false, "R3 alone"},
	{"ownership", []string{"NO_BEAT_GUARD", "NO_R2", "EPOCHS=2"}, false, "a death not guarded by the last heartbeat: the order of the stream covers it"},
	{"ownership", []string{"NO_RIGHT", "EPOCHS=2"}, false, "R2 alone"},
	{"ownership", []string{"STOOD_STILL", "EPOCHS=2"}, false, "a clock stood still: R2 covers it"},
	{"ownership", []string{"STOOD_STILL", "NO_R2"}, true, "and R3 does not"},
	{"ownership", []string{"LINGER", "NO_R2"}, true, "writes longer on their way than the margin: R3 does not cover them"},
	{"ownership", []string{"NO_RIGHT", "NO_R2"}, true, "neither R2 nor R3"},
	{"ownership", []string{"NO_WAIT", "NO_R2"}, true, "granted without fence or wait"},
	{"ownership", []string{"NO_STREAM", "NO_R2"}, true, "a death counts before the heartbeats that preceded it are seen"},
	{"ownership", []string{"NO_STREAM", "NO_BEAT_GUARD", "NO_R2"}, true, "nor is it guarded by the last one"},
	{"ownership", []string{"NO_AFRESH", "NO_R2", "EPOCHS=2"}, true, "a new coordinator goes on with the wait of the old one"},
	{"ownership", []string{"NO_SENT", "NO_R2"}, true, "the right counts from the answer of a heartbeat"},
	{"ownership", []string{"NO_RELEASE", "NO_R2"}, true, "the receiver does not wait for the release"},
	{"ownership", []string{"NO_DRAIN", "NO_R2"}, true, "released before it is drained"},
	{"ownership", []string{"NO_RECEIVER_FENCE", "NO_R2"}, true, "a receiver that died is not fenced"},
	{"ownership", []string{"NO_EPOCH"}, true, "a grant that does not raise the epoch"},
	{"ownership", []string{"NO_OWNER_GUARD"}, true, "ownership changed without the guard of its record"},
	{"ownership", []string{"REACH_MOVED"}, true, "a planned move is reachable"},
	{"ownership", []string{"REACH_RECOVERED"}, true, "so is a recovery from a lost owner"},
	{"ownership", []string{"REACH_AGAIN"}, true, "and one from a lost receiver"},
	{"nexus", nil, false, "no write after its nexus was fenced"},
	{"nexus", []string{"NO_TOKEN"}, true, "an owner takes tasks with the token of another"},
	{"nexus", []string{"NO_TOMBSTONE"}, true, "the owner takes what was on its way when the fence came"},
	{"nexus", []string{"NO_SESSION_END"}, true, "the fence does not wait for the gateway of the nexus"},
	{"nexus", []string{"NO_FENCE_WAIT"}, true, "the fence does not wait for what is in flight"},
	{"nexus", []string{"REACH_ANSWERED"}, true, "a fence that is answered after a move is reachable"},
}

// unreached are the statements that no run of a model reaches, and why that is right.
var unreached = map[string]string{
	`"-end-"`: "the processes have no end",
}

func main() {
	dir := flag.String("models", "test/spin", "the `directory` of the models")
	only := flag.String("only", "", "run the checks whose `name` contains this")
	seconds := flag.Int("seconds", 60, "a check may take so long")
	flag.Parse()
	ctx, cancel := harness.Interruptible()
	err := run(ctx, os.Stdout, *dir, *only, time.Duration(*seconds)*time.Second)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "spin:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, dir, only string, limit time.Duration) error {
	if err := harness.Need("spin", "gcc"); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "spin")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	fmt.Fprintf(w, "%-44s %9s %7s %7s  %s\n", "model", "states", "depth", "errors", "")
	failed, ran := 0, 0
	for i, c := range checks {
		if !strings.Contains(c.name(), only) {
			continue
		}
		ran++
		place := filepath.Join(tmp, strconv.Itoa(i))
		r, err := c.run(ctx, dir, place, limit)
		if err == nil {
			err = c.judge(r)
		}
		verdict := c.what
		if err != nil {
			failed++
			verdict = "FAILED (" + c.what + "): " + err.Error()
		}
		fmt.Fprintf(w, "%-44s %9d %7d %7d  %s\n", c.name(), r.states, r.depth, r.errors, verdict)
		if err != nil && r.trail != "" {
			fmt.Fprintln(w, r.trail)
		}
	}
	for s, why := range unreached {
		fmt.Fprintf(w, "not reached: %s (%s)\n", s, why)
	}
	fmt.Fprintf(w, "%d checks passed, %d failed\n", ran-failed, failed)
	if failed > 0 || ran == 0 {
		return fmt.Errorf("%d of %d checks failed", failed, ran)
	}
	return nil
}

func (c check) name() string {
	return strings.Join(append([]string{c.model}, c.defines...), " ")
}

// result is what the checker said.
type result struct {
	states, depth, errors int
	complete              bool
	unreached             []string
	trail                 string // how the error comes about
}

// run makes a checker of a model, and runs it.
func (c check) run(ctx context.Context, models, place string, limit time.Duration) (result, error) {
	if err := os.Mkdir(place, 0o700); err != nil {
		return result{}, err
	}
	text, err := os.ReadFile(filepath.Join(models, c.model+".pml"))
	if err != nil {
		return result{}, err
	}
	file := c.model + ".pml"
	if err := os.WriteFile(filepath.Join(place, file), text, 0o600); err != nil {
		return result{}, err
	}
	var defines []string
	for _, d := range c.defines {
		defines = append(defines, "-D"+d)
	}
	// MEMLIM is in MiB. The models have no liveness properties, so that the checker may look at assertions alone.
	spin := append(slices.Clone(defines), "-a", file)
	cc := []string{"-O2", "-w", "-DSAFETY", "-DMEMLIM=1800", "-o", "pan", "pan.c"}
	if c.finds {
		cc[0] = "-O0" // it looks at few states: the compiler is what takes time
	}
	for _, step := range [][]string{append([]string{"spin"}, spin...), append([]string{"gcc"}, cc...)} {
		if out, err := command(ctx, time.Minute, place, step...); err != nil {
			return result{}, fmt.Errorf("%s: %w\n%s", step[0], err, out)
		}
	}
	out, err := command(ctx, limit, place, "./pan", "-m1000000", "-w23")
	if err != nil {
		return result{}, fmt.Errorf("it did not end within %v: %w\n%s", limit, err, tail(out, 20))
	}
	r := parse(out)
	if r.errors > 0 {
		trail, err := command(ctx, time.Minute, place, append(append([]string{"spin"}, defines...), "-t", "-p", "-g", file)...)
		if err != nil {
			return r, fmt.Errorf("the trail of the error: %w", err)
		}
		r.trail = tail(trail, 200)
	}
	return r, nil
}

func command(ctx context.Context, limit time.Duration, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func tail(s string, lines int) string {
	l := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(l[max(0, len(l)-lines):], "\n")
}

var (
	depthLine  = regexp.MustCompile(`depth reached (\d+), errors: (\d+)`)
	statesLine = regexp.MustCompile(`(?m)^\s*(\d+) states, stored`)
	missedLine = regexp.MustCompile(`(?m)^\t\S+\.pml:\d+, state \d+, .*$`)
)

// parse reads what the checker prints.
func parse(out string) result {
	var r result
	if m := depthLine.FindStringSubmatch(out); m != nil {
		r.depth, _ = strconv.Atoi(m[1])
		r.errors, _ = strconv.Atoi(m[2])
		r.complete = !strings.Contains(out, "Search not completed") && !strings.Contains(out, "max search depth too small")
	}
	if m := statesLine.FindStringSubmatch(out); m != nil {
		r.states, _ = strconv.Atoi(m[1])
	}
	for _, m := range missedLine.FindAllString(out, -1) {
		r.unreached = append(r.unreached, strings.TrimSpace(m))
	}
	return r
}

// judge looks whether the checker said what it should.
func (c check) judge(r result) error {
	switch {
	case c.finds && r.errors == 0:
		return fmt.Errorf("no error was found")
	case c.finds:
		return nil
	case r.errors > 0:
		return errors.New("an error was found")
	case !r.complete || r.states == 0:
		return fmt.Errorf("the search was not complete")
	}
	if len(c.defines) > 0 {
		return nil // a fault or defence less: some statements make no sense
	}
	var missed []string
	for _, s := range r.unreached {
		if !slices.ContainsFunc(keys(unreached), func(k string) bool { return strings.HasSuffix(s, k) }) {
			missed = append(missed, s)
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("not reached:\n  %s", strings.Join(missed, "\n  "))
	}
	return nil
}

func keys(m map[string]string) []string {
	var l []string
	for k := range m {
		l = append(l, k)
	}
	return l
}
