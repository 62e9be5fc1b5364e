package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

// check compares what a client told with what it must mean.
func check(t *testing.T, got outcome, err error, want sample, requests float64) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.sample) != len(want) {
		t.Errorf("%v, want %v", got.sample, want)
	}
	for m, x := range want {
		if math.Abs(got.sample[m]-x) > 1e-6*x {
			t.Errorf("%s %v, want %v", m, got.sample[m], x)
		}
	}
	if math.Abs(got.requests-requests) > 1e-6*requests {
		t.Errorf("%v requests, want %v", got.requests, requests)
	}
}

func TestSangoBench(t *testing.T) {
	const write = `{"write": {"iops": 1000.5, "mb_s": 4.098, "lat_us": {"p50": 20.5, "p99": 90, "p999": 200, "max": 1000.1}, "errors": 0, "cpu_s": 1.5, "seconds": 2}, "seconds": 2, "seed": 7}`
	o, err := parseSangoBench([]byte(write))
	check(t, o, err, sample{iops: 1000.5, mbs: 4.098, p50: 20.5, p99: 90}, 2001)
	for _, bad := range []string{"", "{}", `{"read": {"iops": 5, "errors": 1, "seconds": 1}}`, `{"read": {"iops": 0, "seconds": 1}}`} {
		if _, err := parseSangoBench([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestISCSIPerf(t *testing.T) {
	const said = "iscsi-perf version 0.1\n\nconnected to iscsi://127.0.0.1:1/t/0\nwill run for 3 seconds.\n\n" +
		"\r00:00:02 - lba 127939, iops current 121959 (476 MB/s), iops average 121959 (476 MB/s), in_flight 32, busy 0        " +
		"\r00:00:01 - lba 406657, iops current 135988 (531 MB/s), iops average 128972 (503 MB/s), in_flight 32, busy 0        " +
		"\riops average 130477 (509 MB/s)                    \n\nfinished.\n"
	if n, err := parseISCSIPerf([]byte(said)); err != nil || n != 130477 {
		t.Errorf("%v, %v", n, err)
	}
	for _, bad := range []string{"", "iscsi_connect failed", said[:len(said)-80], "\riops average 0 (0 MB/s)\n"} {
		if _, err := parseISCSIPerf([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestQEMUImg(t *testing.T) {
	const said = "Sending 20000 read requests, 4096 bytes each, 32 in parallel (starting at offset 0, step size 4096)\nRun completed in 0.155 seconds.\n"
	if s, err := parseQEMUImg([]byte(said)); err != nil || s != 0.155 {
		t.Errorf("%v, %v", s, err)
	}
	for _, bad := range []string{"", "Failed request: Input/output error", "Run completed in 0.000 seconds."} {
		if _, err := parseQEMUImg([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestFio(t *testing.T) {
	const said = "fio: connected to NBD server\n" + `{"fio version": "fio-3.33", "jobs": [{"jobname": "load", "error": 0,
		"read": {"iops": 119847.5, "bw_bytes": 490893938, "total_ios": 119967, "clat_ns": {"percentile": {"50.000000": 232448, "99.000000": 774144}}},
		"write": {"iops": 0, "bw_bytes": 0, "total_ios": 0, "clat_ns": {"min": 0}}}]}`
	o, err := parseFio([]byte(said))
	check(t, o, err, sample{iops: 119847.5, mbs: 490.893938, p50: 232.448, p99: 774.144}, 119967)
	write := strings.NewReplacer(`"read"`, `"write"`, `"write"`, `"read"`).Replace(said)
	o, err = parseFio([]byte(write))
	check(t, o, err, sample{iops: 119847.5, mbs: 490.893938, p50: 232.448, p99: 774.144}, 119967)
	for _, bad := range []string{"", "{", "{}", `{"jobs": [{"error": 5}]}`, `{"jobs": [{"error": 0}]}`} {
		if _, err := parseFio([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestIperf(t *testing.T) {
	const said = `{"start": {}, "end": {"sum_sent": {"bits_per_second": 34661070010.2}, "sum_received": {"bits_per_second": 34659545203.2}}}`
	if n, err := parseIperf([]byte(said)); err != nil || math.Abs(n-4332.44315) > 0.001 {
		t.Errorf("%v, %v", n, err)
	}
	for _, bad := range []string{"", "{}", `{"error": "unable to connect to server"}`} {
		if _, err := parseIperf([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestLoaded(t *testing.T) {
	o, err := parseLoaded([]byte(`{"counts": [100, 50, 120], "p50_us": 10, "p99_us": 20, "seconds": 2}` + "\n"))
	check(t, o, err, sample{iops: 135, mbs: 0.55296, p50: 10, p99: 20, fairness: 0.5}, 270)
	o, err = parseLoaded([]byte(`{"counts": [0, 0, 120], "p50_us": 10, "p99_us": 20, "seconds": 2}`))
	check(t, o, err, sample{iops: 60, mbs: 0.24576, p50: 10, p99: 20, fairness: 0}, 120)
	for _, bad := range []string{"", "{}", `{"counts": [0], "seconds": 1}`} {
		if _, err := parseLoaded([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestProcessorTime(t *testing.T) {
	const stat = "4711 (a ) name) S 1 4711 4711 0 -1 4194560 1234 0 0 0 150 250 0 0 20 0 9 0 12345 1000000 500 18446744073709551615"
	if d, err := parseStat(stat); err != nil || d != 4*time.Second {
		t.Errorf("%v, %v", d, err)
	}
	for _, bad := range []string{"", "1 (x) S 1 2", "4711 (x) S 1 4711 4711 0 -1 4194560 1234 0 0 0 a b 0"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestMemory(t *testing.T) {
	const status = "Name:\tsango\nVmPeak:\t 9999 kB\nVmHWM:\t  51200 kB\nVmRSS:\t  2048 kB\n"
	for name, want := range map[string]float64{"VmHWM": 50, "VmRSS": 2} {
		if v, err := parseStatus(status, name); err != nil || v != want {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	if _, err := parseStatus(status, "VmSwap"); err == nil {
		t.Error("a field that is not there was found")
	}
}
