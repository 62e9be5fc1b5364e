package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// benchCase is one load on several contenders, which take turns.
type benchCase struct {
	id         string // SECTION/LOAD/CLIENT, for -only
	title      string // what the load is
	client     string // the program that makes it
	main       metric // what the load is about
	contenders []contender
	claims     []claim
}

// contender is one of those that a load runs on, or with.
type contender struct {
	name   string
	server *process // whose processor time and memory is counted; nil: nobody's
	run    client
	// settle is called after each run, unmeasured.
	settle func() error
}

// outcome is what a client tells of its run.
type outcome struct {
	sample
	requests float64       // answered
	cpu      time.Duration // of the client
}

// claim is something to be judged: of a figure, or of its ratio to that of another contender.
type claim struct {
	of, to int // contenders; to < 0: the figure itself
	metric metric
	bar    float64 // 0: only shown
	goal   float64 // 0: none
}

// ratio claims that the figure of the first contender is bar times that of the second, or better.
func ratio(m metric, bar, goal float64) claim {
	return claim{of: 0, to: 1, metric: m, bar: bar, goal: goal}
}

// versus is ratio for any two contenders.
func versus(of, to int, m metric, bar, goal float64) claim {
	return claim{of: of, to: to, metric: m, bar: bar, goal: goal}
}

// absolute claims that the figure of a contender is bar or better.
func absolute(of int, m metric, bar float64) claim { return claim{of: of, to: -1, metric: m, bar: bar} }

// measure runs a load once on the contender at. The servers of the others have nothing to do meanwhile.
func (b *benchCase) measure(ctx context.Context, at int, d time.Duration) (sample, error) {
	c := &b.contenders[at]
	others := b.others(at)
	idle, err := used(others)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	var before time.Duration
	if c.server != nil {
		if before, err = c.server.cpu(); err != nil {
			return nil, err
		}
		if err := c.server.resetPeak(); err != nil {
			return nil, err
		}
	}
	r, err := c.run(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	if r.requests > 0 && r.cpu > 0 {
		r.sample[clientCPU] = r.cpu.Seconds() / r.requests * 1e6
	}
	if c.server != nil {
		after, err := c.server.cpu()
		if err != nil {
			return nil, err
		}
		if r.requests > 0 {
			r.sample[serverCPU] = (after - before).Seconds() / r.requests * 1e6
		}
		if r.sample[peak], err = c.server.memory("VmHWM"); err != nil {
			return nil, err
		}
	}
	if len(others) > 0 {
		after, err := used(others)
		if err != nil {
			return nil, err
		}
		r.sample[othersCPU] = 100 * (after - idle).Seconds() / time.Since(begin).Seconds()
	}
	if c.settle != nil {
		if err := c.settle(); err != nil {
			return nil, err
		}
	}
	return r.sample, nil
}

// others returns the servers besides that of the contender at.
func (b *benchCase) others(at int) []*process {
	var out []*process
	for _, c := range b.contenders {
		if c.server != nil && c.server != b.contenders[at].server && !slices.Contains(out, c.server) {
			out = append(out, c.server)
		}
	}
	return out
}

// used returns the processor time of servers so far.
func used(servers []*process) (time.Duration, error) {
	var sum time.Duration
	for _, s := range servers {
		t, err := s.cpu()
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// runCases runs each case once in each round. Who goes first changes from round to round: the second finds the
// machine as the first one left it.
func (p *perf) runCases(ctx context.Context, cases []*benchCase) error {
	results := make([]*caseResult, len(cases))
	for i, c := range cases {
		results[i] = newCaseResult(c)
	}
	for round := range p.rounds {
		for i, c := range cases {
			got := make([]sample, len(c.contenders))
			for k := range c.contenders {
				at := k
				if round%2 == 1 {
					at = len(c.contenders) - 1 - k
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				d := p.time
				if strings.HasPrefix(c.id, limits+"/") {
					d /= 3 // no server has to warm up
				}
				s, err := c.measure(ctx, at, d)
				if err != nil {
					return fmt.Errorf("%s: %w", c.id, err)
				}
				got[at] = s
			}
			results[i].add(got)
			p.progress(round, c, got)
		}
	}
	for _, r := range results {
		r.judge()
	}
	p.report.Cases = append(p.report.Cases, results...)
	return nil
}

// progress prints one line for what a round of a case gave.
func (p *perf) progress(round int, c *benchCase, got []sample) {
	line := fmt.Sprintf("round %d/%d  %-40s %s:", round+1, p.rounds, c.id, c.main)
	for i, s := range got {
		line += fmt.Sprintf("  %s %s", c.contenders[i].name, c.main.format(s[c.main]))
	}
	p.say("%s", line)
}

// wanted returns the cases that -only leaves.
func (p *perf) wanted(cases []*benchCase) []*benchCase {
	var out []*benchCase
	for _, c := range cases {
		if p.only.MatchString(c.id) {
			out = append(out, c)
		}
	}
	return out
}

// say prints a line of progress.
func (p *perf) say(format string, args ...any) {
	fmt.Fprintf(p.w, "%3.0f s  %s\n", time.Since(p.begin).Seconds(), fmt.Sprintf(format, args...))
}
