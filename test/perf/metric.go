package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// metric names one figure of a sample. Its text is the key in results.json.
type metric string

// The metrics.
const (
	iops      metric = "iops"
	mbs       metric = "mb_s" // 10^6 bytes a second
	p50       metric = "p50_us"
	p99       metric = "p99_us"
	serverCPU metric = "server_cpu_s_per_million"
	clientCPU metric = "client_cpu_s_per_million"
	peak      metric = "server_peak_mib" // VmHWM, reset before each run
	fairness  metric = "slowest_to_median"
	idleRSS   metric = "rss_kib_per_session"
	ready     metric = "ready_s"
	rss       metric = "rss_mib"
	// othersCPU is the processor time that the servers of the other contenders took meanwhile, in percent of one processor:
	// what is there and has nothing to do should not be in the way.
	othersCPU metric = "other_servers_cpu_percent"
	// manageTime is that of making a volume and deleting it.
	manageTime metric = "manage_ms"
)

// about says how a metric is shown, and whether less of it is better.
var about = map[metric]struct {
	name   string
	digits int
	less   bool
}{
	iops: {"IOPS", 0, false}, mbs: {"MB/s", 0, false}, p50: {"p50 µs", 1, true}, p99: {"p99 µs", 1, true},
	serverCPU: {"server CPU s per million", 2, true}, clientCPU: {"client CPU s per million", 2, true},
	peak: {"server peak MiB", 0, true}, fairness: {"slowest ÷ median session", 2, false},
	idleRSS: {"KiB per idle session", 1, true}, ready: {"s until it serves", 2, true}, rss: {"MiB in memory", 0, true},
	othersCPU:  {"% CPU of the other servers", 1, true},
	manageTime: {"ms to make and delete a volume", 1, true},
}

func (m metric) String() string { return about[m].name }

// format writes v in the unit of m, with thousands apart.
func (m metric) format(v float64) string { return grouped(v, about[m].digits) }

func grouped(v float64, digits int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	s := fmt.Sprintf("%.*f", digits, v)
	whole, rest, _ := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return sign + whole
}

// several is "1 volume" or "10,000 volumes".
func several(n int, of string) string {
	if n != 1 {
		of += "s"
	}
	return grouped(float64(n), 0) + " " + of
}

// sample is what one run of a load on one contender gave. A client that tells no latency leaves it out.
type sample map[metric]float64

// spread is what several runs gave.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf returns the spread of v; of an even number the median is the mean of the middle two.
func spreadOf(v []float64) spread {
	if len(v) == 0 {
		return spread{}
	}
	s := slices.Clone(v)
	slices.Sort(s)
	n := len(s)
	return spread{Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1]}
}

// significant leaves five digits: more than was measured only confuses.
func significant(x float64) float64 {
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	p := math.Pow10(4 - int(math.Floor(math.Log10(math.Abs(x)))))
	return math.Round(x*p) / p
}

// column returns the values of m in those samples that have it.
func column(samples []sample, m metric) []float64 {
	var v []float64
	for _, s := range samples {
		if x, ok := s[m]; ok {
			v = append(v, x)
		}
	}
	return v
}
