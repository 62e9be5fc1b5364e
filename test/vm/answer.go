package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sango/test/harness"
)

// answer does what the guest asks for while it runs, and reports steps as they end. It returns when done is closed.
// The guest asks by a file "request" and waits for the file "answer": a status in the first line, then text.
func answer(ctx context.Context, share string, done <-chan struct{}, do func(ctx context.Context, verb string, args []string) (string, error), rep *harness.Report) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	request := filepath.Join(share, "request")
	seen := 0
	for {
		ended := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-done:
			ended = true
		case <-tick.C:
		}
		var err error
		if seen, err = steps(share, seen, rep); err != nil {
			return err
		}
		if ended {
			return nil
		}
		b, err := os.ReadFile(request)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.Remove(request); err != nil {
			return err
		}
		f := strings.Fields(string(b))
		if len(f) == 0 {
			return errors.New("the guest asked for nothing")
		}
		status := 0
		text, err := do(ctx, f[0], f[1:])
		if err != nil {
			status, text = 1, err.Error()
		}
		fmt.Fprintf(rep.W, "     guest asked: %s\n", strings.Join(f, " "))
		fresh := filepath.Join(share, "answer.new")
		if err := os.WriteFile(fresh, fmt.Appendf(nil, "%d\n%s\n", status, text), 0o644); err != nil {
			return err
		}
		if err := os.Rename(fresh, filepath.Join(share, "answer")); err != nil {
			return err
		}
	}
}

// steps reports what the guest wrote to "results" since the last call: name, exit status, begin and end in seconds, and
// what the step has to tell, as the longest stall.
func steps(share string, seen int, rep *harness.Report) (int, error) {
	b, err := os.ReadFile(filepath.Join(share, "results"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return seen, err
	}
	lines := strings.SplitAfter(string(b), "\n")
	for ; seen < len(lines) && strings.HasSuffix(lines[seen], "\n"); seen++ {
		s, err := parseStep(lines[seen])
		if err != nil {
			return seen, err
		}
		var failure error
		if s.status != 0 {
			failure = fmt.Errorf("exit status %d; the end of its output:\n%s", s.status, end(filepath.Join(share, "log", s.name), 30))
		}
		rep.Add(s.name, s.took, failure)
		if s.note != "" {
			fmt.Fprintf(rep.W, "     %s\n", s.note)
		}
	}
	return seen, nil
}

type guestStep struct {
	name   string
	status int
	took   time.Duration
	note   string
}

func parseStep(line string) (guestStep, error) {
	f := strings.Fields(line)
	if len(f) < 4 {
		return guestStep{}, fmt.Errorf("results of the guest: %q", line)
	}
	status, err1 := strconv.Atoi(f[1])
	begin, err2 := strconv.ParseFloat(f[2], 64)
	finish, err3 := strconv.ParseFloat(f[3], 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return guestStep{}, fmt.Errorf("results of the guest: %q: %w", line, err)
	}
	return guestStep{f[0], status, time.Duration((finish - begin) * float64(time.Second)), strings.Join(f[4:], " ")}, nil
}

// end returns the last lines of a file.
func end(file string, n int) string {
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
