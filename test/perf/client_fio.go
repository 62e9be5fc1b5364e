package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// fioNBD is fio with its nbd engine (libnbd, one connection).
func fioNBD(socket string, l load, size int64) client {
	args := []string{
		"--name=load", "--ioengine=nbd", "--uri=nbd+unix:///?socket=" + socket, "--rw=" + l.pattern, "--bs=" + strconv.Itoa(l.request),
		"--iodepth=" + strconv.Itoa(l.depth), "--size=" + strconv.FormatInt(size, 10), "--output-format=json", "--randrepeat=0",
		"--norandommap",
	}
	return func(ctx context.Context, d time.Duration) (outcome, error) {
		// fio takes whole milliseconds only where the unit is named.
		out, cpu, err := runClient(ctx, d, "fio", append(args[:len(args):len(args)], "--time_based", fmt.Sprintf("--runtime=%dms", d.Milliseconds()))...)
		if err != nil {
			return outcome{}, err
		}
		o, err := parseFio(out)
		o.cpu = cpu
		return o, err
	}
}

// fillNBD writes the whole export once.
func fillNBD(ctx context.Context, socket string, size int64) error {
	_, _, err := runClient(ctx, time.Minute, "fio", "--name=fill", "--ioengine=nbd", "--uri=nbd+unix:///?socket="+socket, "--rw=write", "--bs=64k",
		"--iodepth=16", "--size="+strconv.FormatInt(size, 10), "--output-format=json")
	return err
}

// parseFio reads fio's JSON of one job of one direction. The engine writes lines of its own before it.
func parseFio(b []byte) (outcome, error) {
	type direction struct {
		IOPS    float64 `json:"iops"`
		Bytes   float64 `json:"bw_bytes"`
		Total   float64 `json:"total_ios"`
		Latency struct {
			Percentile map[string]float64 `json:"percentile"`
		} `json:"clat_ns"`
	}
	var r struct {
		Jobs []struct {
			Error       int `json:"error"`
			Read, Write direction
		} `json:"jobs"`
	}
	i := bytes.IndexByte(b, '{')
	if i < 0 {
		return outcome{}, fmt.Errorf("fio wrote no JSON: %q", b)
	}
	if err := json.Unmarshal(b[i:], &r); err != nil {
		return outcome{}, fmt.Errorf("fio: %w", err)
	}
	if len(r.Jobs) != 1 || r.Jobs[0].Error != 0 {
		return outcome{}, errors.New("fio tells of no job that went well")
	}
	d := r.Jobs[0].Read
	if d.Total == 0 {
		d = r.Jobs[0].Write
	}
	if d.Total == 0 || d.IOPS <= 0 {
		return outcome{}, errors.New("fio got nothing answered")
	}
	return outcome{
		sample: sample{
			iops: d.IOPS, mbs: d.Bytes / 1e6,
			p50: d.Latency.Percentile["50.000000"] / 1e3, p99: d.Latency.Percentile["99.000000"] / 1e3,
		},
		requests: d.Total,
	}, nil
}
