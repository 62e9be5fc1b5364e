package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sessionDepth is how many requests each of many sessions has out.
const sessionDepth = 4

// sessionCounts are how many sessions are measured; -short leaves the last out and has the other.
func (p *perf) sessionCounts() []int {
	if p.short {
		return []int{1, 16, 100}
	}
	return []int{1, 16, 256, 1000}
}

// sessionsGroup measures what many sessions get, and what one costs that does nothing.
func (p *perf) sessionsGroup(ctx context.Context, dir string) (err error) {
	if err := p.shares(ctx, dir); err != nil {
		return err
	}
	return p.idleSessions(ctx, dir)
}

func (p *perf) shares(ctx context.Context, dir string) error {
	return p.withBoth(ctx, dir, func(b *pair) []*benchCase {
		var cases []*benchCase
		for _, n := range p.sessionCounts() {
			c := &benchCase{
				id: fmt.Sprintf("sessions/%d/loader", n), title: fmt.Sprintf("4k random read, %s of depth %d", several(n, "session"), sessionDepth), client: "this program", main: iops,
				contenders: []contender{
					{name: "sango", server: b.sango, run: loaderClient(b.onSango.url, n)},
					{name: "tgt", server: b.tgt, run: loaderClient(b.onTgt.url, n)},
				},
				claims: []claim{ratio(iops, 0, 0), ratio(serverCPU, 0, 0)},
			}
			if n > 1 {
				c.claims = append(c.claims, absolute(0, fairness, 0.5), absolute(1, fairness, 0))
			}
			cases = append(cases, c)
		}
		return cases
	})
}

// manySessions is a loader under way.
type manySessions struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs bytes.Buffer
}

// logIn starts a loader and returns when its sessions are there.
func logIn(ctx context.Context, url string, n int, d time.Duration) (*manySessions, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	m := &manySessions{cmd: exec.CommandContext(ctx, self, "sessions", "-url", url, "-n", strconv.Itoa(n), "-depth", strconv.Itoa(sessionDepth), "-time", d.String())}
	m.cmd.Stderr = &m.errs
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // see startProcess
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.out = bufio.NewReader(out)
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := m.out.ReadString('\n'); err != nil {
		return nil, m.end(err)
	}
	return m, nil
}

// end logs out. err is what went wrong before, if anything did.
func (m *manySessions) end(err error) error {
	m.in.Close()
	if e := m.cmd.Wait(); e != nil {
		err = errors.Join(err, fmt.Errorf("%w: %s", e, strings.TrimSpace(m.errs.String())))
	}
	return err
}

// loaderClient makes load with n sessions.
func loaderClient(url string, n int) client {
	return func(ctx context.Context, d time.Duration) (outcome, error) {
		m, err := logIn(ctx, url, n, d)
		if err != nil {
			return outcome{}, err
		}
		if _, err := io.WriteString(m.in, "go\n"); err != nil {
			return outcome{}, m.end(err)
		}
		line, err := m.out.ReadBytes('\n')
		if err = m.end(err); err != nil {
			return outcome{}, err
		}
		o, err := parseLoaded(line)
		o.cpu = m.cmd.ProcessState.UserTime() + m.cmd.ProcessState.SystemTime()
		return o, err
	}
}

func parseLoaded(line []byte) (outcome, error) {
	var l loaded
	if err := json.Unmarshal(line, &l); err != nil {
		return outcome{}, fmt.Errorf("%q: %w", line, err)
	}
	var sum float64
	each := make([]float64, len(l.Counts))
	for i, c := range l.Counts {
		each[i] = float64(c)
		sum += float64(c)
	}
	if sum == 0 || l.Seconds <= 0 {
		return outcome{}, errors.New("no session got anything answered")
	}
	s := rates(sum/l.Seconds, load{request: 4096})
	s[p50], s[p99] = l.P50, l.P99
	if m := spreadOf(each).Median; m > 0 {
		s[fairness] = slices.Min(each) / m
	} else {
		s[fairness] = 0 // half of them got nothing
	}
	return outcome{sample: s, requests: sum}, nil
}

// idleSessions measures how much a new server grows by sessions that do nothing. Each measurement has a server of its
// own: memory that another one has used before would hide it.
func (p *perf) idleSessions(ctx context.Context, dir string) error {
	n := slices.Max(p.sessionCounts())
	grows := func(name string, start func(dir string) (server *process, url string, stop func() error, err error)) contender {
		i := 0
		return contender{name: name, run: func(ctx context.Context, _ time.Duration) (o outcome, err error) {
			i++
			sub := filepath.Join(dir, fmt.Sprintf("%s%d", name, i))
			if err := os.Mkdir(sub, 0o755); err != nil {
				return o, err
			}
			s, url, stop, err := start(sub)
			if err != nil {
				return o, err
			}
			defer func() { err = errors.Join(err, stop()) }()
			before, err := s.memory("VmRSS")
			if err != nil {
				return o, err
			}
			m, err := logIn(ctx, url, n, 0)
			if err != nil {
				return o, err
			}
			// Every session has been pinged a few times by then.
			select {
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
			}
			after, err := s.memory("VmRSS")
			if _, e := io.WriteString(m.in, "go\n"); e != nil {
				err = errors.Join(err, e)
			}
			return outcome{sample: sample{idleRSS: (after - before) * 1024 / float64(n)}}, m.end(err)
		}}
	}
	c := &benchCase{
		id: "sessions/idle/rss", title: fmt.Sprintf("memory (RSS) of an idle session, of %s", grouped(float64(n), 0)), client: "this program", main: idleRSS,
		contenders: []contender{
			grows("sango", func(sub string) (*process, string, func() error, error) {
				d, s, err := p.startSango(ctx, sub, 1, volumeFlag("v", 16<<20))
				if err != nil {
					return nil, "", nil, err
				}
				return s, d.URL(0, 0), d.Stop, nil
			}),
			grows("tgt", func(sub string) (*process, string, func() error, error) {
				t, err := startTgtd(ctx, sub, 16<<20)
				if err != nil {
					return nil, "", nil, err
				}
				return t.process, t.url(), func() error { t.stop(); return nil }, nil
			}),
		},
		claims: []claim{absolute(0, idleRSS, 64), absolute(1, idleRSS, 0)},
	}
	return p.runCases(ctx, p.wanted([]*benchCase{c}))
}
