package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// client makes a load for about so long. One client may keep what it learned from one run to the next.
type client func(ctx context.Context, d time.Duration) (outcome, error)

// runClient runs a program that makes load, and returns what it wrote to standard output and the processor time it took.
func runClient(ctx context.Context, limit time.Duration, program string, args ...string) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // see startProcess
	if err := cmd.Run(); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no end within %v", limit+time.Minute)
		}
		text := strings.TrimSpace(out.String() + errs.String())
		return nil, 0, fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, text[max(0, len(text)-2000):])
	}
	return out.Bytes(), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// load is what a client is to do.
type load struct {
	pattern  string // read, write, randread, randwrite
	request  int    // bytes
	depth    int    // requests at a time in each session
	sessions int    // 0: 1
	digests  bool
}

func (l load) writes() bool { return strings.HasSuffix(l.pattern, "write") }

// id is short, for -only.
func (l load) id() string {
	s := fmt.Sprintf("%s-%s-d%d", sizeName(l.request), l.pattern, l.depth)
	if l.sessions > 1 {
		s += fmt.Sprintf("x%d", l.sessions)
	}
	return s
}

func (l load) String() string {
	how := map[string]string{"read": "sequential read", "write": "sequential write", "randread": "random read", "randwrite": "random write"}[l.pattern]
	s := fmt.Sprintf("%s %s, depth %d", sizeName(l.request), how, l.depth)
	if l.sessions > 1 {
		s += fmt.Sprintf(", %d sessions", l.sessions)
	}
	return s
}

// metric is what the load is about.
func (l load) metric() metric {
	if l.request < 64<<10 {
		return iops
	}
	return mbs
}

func sizeName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%dM", n>>20)
	}
	return fmt.Sprintf("%dk", n>>10)
}
