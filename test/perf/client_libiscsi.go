package main

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

// iscsiPerf is libiscsi's iscsi-perf, which reads only, tells no latency, and counts its time in whole seconds.
func iscsiPerf(url string, l load) client {
	const block = 512
	args := []string{"-m", strconv.Itoa(l.depth), "-b", strconv.Itoa(l.request / block)}
	if l.pattern == "randread" {
		args = append(args, "-r")
	}
	return func(ctx context.Context, d time.Duration) (outcome, error) {
		seconds := int(math.Ceil(d.Seconds()))
		out, cpu, err := runClient(ctx, d, "iscsi-perf", append(args[:len(args):len(args)], "-t", strconv.Itoa(seconds), url)...)
		if err != nil {
			return outcome{}, err
		}
		n, err := parseISCSIPerf(out)
		if err != nil {
			return outcome{}, err
		}
		return outcome{sample: rates(n, l), requests: n * float64(seconds), cpu: cpu}, nil
	}
}

var perfAverage = regexp.MustCompile(`\riops average (\d+) \(\d+ MB/s\)`)

// parseISCSIPerf returns the IOPS of the whole run.
func parseISCSIPerf(b []byte) (float64, error) {
	m := perfAverage.FindSubmatch(b)
	if m == nil {
		return 0, fmt.Errorf("iscsi-perf tells no average: %q", b)
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err == nil && n <= 0 {
		err = fmt.Errorf("iscsi-perf got nothing answered: %q", b)
	}
	return n, err
}

// qemuImg is `qemu-img bench`, sequential over libiscsi, which tells no latency. It ends by a count, so the first run
// finds out how many requests fit into the time; each later one takes the count from the rate of the one before.
func qemuImg(url string, l load) client {
	args := []string{"bench", "-f", "raw", "-s", strconv.Itoa(l.request), "-d", strconv.Itoa(l.depth)}
	if l.writes() {
		args = append(args, "-w")
	}
	once := func(ctx context.Context, d time.Duration, count int) (rate float64, cpu time.Duration, err error) {
		out, cpu, err := runClient(ctx, d, "qemu-img", append(args[:len(args):len(args)], "-c", strconv.Itoa(count), url)...)
		if err != nil {
			return 0, 0, err
		}
		seconds, err := parseQEMUImg(out)
		return float64(count) / seconds, cpu, err
	}
	var rate float64
	return func(ctx context.Context, d time.Duration) (outcome, error) {
		if rate == 0 {
			var err error
			if rate, _, err = once(ctx, d, max(l.depth, 64<<20/l.request)); err != nil {
				return outcome{}, err
			}
		}
		count := max(l.depth, int(rate*d.Seconds()))
		got, cpu, err := once(ctx, d, count)
		if err != nil {
			return outcome{}, err
		}
		rate = got
		return outcome{sample: rates(got, l), requests: float64(count), cpu: cpu}, nil
	}
}

var qemuCompleted = regexp.MustCompile(`Run completed in ([0-9.]+) seconds`)

// parseQEMUImg returns the seconds that the run took.
func parseQEMUImg(b []byte) (float64, error) {
	m := qemuCompleted.FindSubmatch(b)
	if m == nil {
		return 0, fmt.Errorf("qemu-img bench tells no time: %q", b)
	}
	s, err := strconv.ParseFloat(string(m[1]), 64)
	if err == nil && s <= 0 {
		err = fmt.Errorf("qemu-img bench took no time: %q", b)
	}
	return s, err
}

// rates returns the sample of so many requests a second.
func rates(perSecond float64, l load) sample {
	return sample{iops: perSecond, mbs: perSecond * float64(l.request) / 1e6}
}
