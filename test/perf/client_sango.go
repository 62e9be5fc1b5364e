package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// sangoBench is `sango bench`, with plain sessions where raw is set, else through the multipath engine.
func sangoBench(program, urls string, l load, raw bool) client {
	args := []string{"bench", urls, "--destroy", "-o", "json", "--rw", l.pattern, "--bs", strconv.Itoa(l.request), "--depth", strconv.Itoa(l.depth)}
	if raw {
		args = append(args, "--raw")
	}
	if l.sessions > 1 {
		args = append(args, "--sessions", strconv.Itoa(l.sessions))
	}
	digests := "none" // whatever the target would rather have
	if l.digests {
		digests = "both"
	}
	args = append(args, "--digests", digests)
	return func(ctx context.Context, d time.Duration) (outcome, error) {
		out, cpu, err := runClient(ctx, d, program, append(args[:len(args):len(args)], "--time", d.String())...)
		if err != nil {
			return outcome{}, err
		}
		o, err := parseSangoBench(out)
		o.cpu = cpu
		return o, err
	}
}

// parseSangoBench reads what `sango bench -o json` prints for a load of one direction.
func parseSangoBench(b []byte) (outcome, error) {
	type direction struct {
		IOPS    float64            `json:"iops"`
		MB      float64            `json:"mb_s"`
		Latency map[string]float64 `json:"lat_us"`
		Errors  int64              `json:"errors"`
		Seconds float64            `json:"seconds"`
	}
	var r struct{ Read, Write *direction }
	if err := json.Unmarshal(b, &r); err != nil {
		return outcome{}, fmt.Errorf("sango bench: %w", err)
	}
	d := r.Read
	if d == nil {
		d = r.Write
	}
	switch {
	case d == nil:
		return outcome{}, fmt.Errorf("sango bench tells of no direction: %s", b)
	case d.Errors > 0:
		return outcome{}, fmt.Errorf("sango bench had %d errors: %s", d.Errors, b)
	case d.IOPS <= 0:
		return outcome{}, fmt.Errorf("sango bench got nothing answered: %s", b)
	}
	return outcome{
		sample:   sample{iops: d.IOPS, mbs: d.MB, p50: d.Latency["p50"], p99: d.Latency["p99"]},
		requests: d.IOPS * d.Seconds,
	}, nil
}
