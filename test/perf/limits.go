package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// limitCases are what the machine allows: bytes and round trips over the loopback, reads and writes of the files that
// the targets serve. The last also show that both files are in the same state.
func (p *perf) limitCases(b *pair) []*benchCase {
	cases := []*benchCase{
		{id: "limit/iperf3", title: "TCP stream over the loopback", client: "iperf3", main: mbs, contenders: []contender{{name: "one stream", run: p.iperf}}},
		{
			id: "limit/tcp-round-trip", title: "TCP round trips of 48 bytes and 48 + 4k, one at a time", client: "this program", main: iops,
			contenders: []contender{
				{name: "4k in the answer", run: func(ctx context.Context, d time.Duration) (outcome, error) {
					return p.roundTrips(ctx, d, header, header+4096)
				}},
				{name: "4k in the request", run: func(ctx context.Context, d time.Duration) (outcome, error) {
					return p.roundTrips(ctx, d, header+4096, header)
				}},
			},
		},
	}
	for _, l := range []load{
		{pattern: "randread", request: 4 << 10},
		{pattern: "randwrite", request: 4 << 10},
		{pattern: "randread", request: 64 << 10},
		{pattern: "randwrite", request: 64 << 10},
		{pattern: "read", request: 1 << 20},
		{pattern: "write", request: 1 << 20},
	} {
		call, settle := "pread", func(*volume) func() error { return nil }
		if l.writes() {
			call, settle = "pwrite", func(v *volume) func() error { return v.settle }
		}
		on := func(name string, v *volume) contender {
			return contender{name: name, settle: settle(v), run: func(ctx context.Context, d time.Duration) (outcome, error) {
				return fileCalls(ctx, d, v.file, v.size, l)
			}}
		}
		cases = append(cases, &benchCase{
			id: fmt.Sprintf("limit/%s-%s", call, sizeName(l.request)), title: fmt.Sprintf("%s of %s on the file, one thread", call, sizeName(l.request)),
			client: "this program", main: l.metric(), contenders: []contender{on("sango's file", &b.onSango), on("tgt's file", &b.onTgt)},
			claims: []claim{ratio(l.metric(), 0, 0)},
		})
	}
	return cases
}

// iperf runs iperf3 against itself.
func (p *perf) iperf(ctx context.Context, d time.Duration) (o outcome, err error) {
	_, port, err := freePort()
	if err != nil {
		return o, err
	}
	dir, err := os.MkdirTemp(p.dir, "iperf")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	server, err := startProcess(dir, "iperf3", "-s", "-B", "127.0.0.1", "-p", strconv.Itoa(port))
	if err != nil {
		return o, err
	}
	defer server.end(syscall.SIGTERM)
	seconds := max(1, int(d.Seconds())) // it takes whole ones
	err = server.await(ctx, func() error {
		out, _, err := runClient(ctx, time.Duration(seconds)*time.Second, "iperf3", "-c", "127.0.0.1", "-p", strconv.Itoa(port), "-t", strconv.Itoa(seconds), "-J")
		if err != nil {
			return err // it does not listen yet
		}
		o.sample = sample{}
		o.sample[mbs], err = parseIperf(out)
		return err
	})
	return o, err
}

// parseIperf returns what was received, in 10^6 bytes a second.
func parseIperf(b []byte) (float64, error) {
	var r struct {
		End struct {
			Received struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return 0, fmt.Errorf("iperf3: %w", err)
	}
	if r.Error != "" || r.End.Received.Bits <= 0 {
		return 0, fmt.Errorf("iperf3 measured nothing: %s", r.Error)
	}
	return r.End.Received.Bits / 8 / 1e6, nil
}

// fileCalls reads or writes a file with one thread.
func fileCalls(ctx context.Context, d time.Duration, name string, size int64, l load) (outcome, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return outcome{}, err
	}
	defer f.Close()
	buf := make([]byte, l.request)
	places := size / int64(l.request)
	next := func(n int64) int64 { return n % places }
	if l.pattern[:4] == "rand" {
		next = func(int64) int64 { return rand.Int64N(places) }
	}
	call := f.ReadAt
	if l.writes() {
		call = f.WriteAt
	}
	return timed(ctx, d, l.request, func(n int64) error {
		_, err := call(buf, next(n)*int64(l.request))
		return err
	})
}

// timed calls f until d is over, and measures each call.
func timed(ctx context.Context, d time.Duration, request int, f func(n int64) error) (outcome, error) {
	var h latencies
	begin := time.Now()
	last := begin
	n := int64(0)
	for ; last.Sub(begin) < d; n++ {
		if err := errors.Join(ctx.Err(), f(n)); err != nil {
			return outcome{}, err
		}
		now := time.Now()
		h.record(now.Sub(last))
		last = now
	}
	s := rates(float64(n)/last.Sub(begin).Seconds(), load{request: request})
	s[p50], s[p99] = h.quantile(0.5), h.quantile(0.99)
	return outcome{sample: s, requests: float64(n)}, nil
}

// header is the length of an iSCSI PDU without data.
const header = 48

// roundTrips sends requests over TCP to another process and waits for each answer.
func (p *perf) roundTrips(ctx context.Context, d time.Duration, request, answer int) (o outcome, err error) {
	dir, err := os.MkdirTemp(p.dir, "echo")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	addr, _, err := freePort()
	if err != nil {
		return o, err
	}
	server, err := startProcess(dir, self, "echo", addr, strconv.Itoa(request), strconv.Itoa(answer))
	if err != nil {
		return o, err
	}
	defer server.end(syscall.SIGKILL)
	var c net.Conn
	if err := server.await(ctx, func() (err error) { c, err = net.Dial("tcp", addr); return err }); err != nil {
		return o, err
	}
	defer c.Close()
	out, in := make([]byte, request), make([]byte, answer)
	return timed(ctx, d, 4096, func(int64) error { return roundTrip(c, out, in) })
}
