package bench

import (
	"math"
	"time"
)

// maxSamples bounds a time series.
const maxSamples = 1_000_000

// Result is what a run measured.
type Result struct {
	Read    *Direction `json:"read,omitempty"` // absent where the pattern has none
	Write   *Direction `json:"write,omitempty"`
	Seconds float64    `json:"seconds"` // of the measurement, to the last answer
	CPU     float64    `json:"cpu_s"`   // seconds of processor time of this process
	Errors  int64      `json:"errors"`  // of both directions and of the verification
	// Unanswered requests were given up; they count as errors.
	Unanswered int64         `json:"unanswered,omitempty"`
	Spread     *Spread       `json:"per_session,omitempty"` // of several sessions
	Verify     *Verification `json:"verify,omitempty"`
	Messages   []string      `json:"messages,omitempty"` // the first errors
	Series     []Sample      `json:"series,omitempty"`
	Seed       uint64        `json:"seed"`
	// Interrupted: the run ended before its time.
	Interrupted bool `json:"interrupted,omitempty"`
}

// Direction is what was measured of reads or of writes.
type Direction struct {
	IOPS    float64 `json:"iops"`
	MB      float64 `json:"mb_s"` // 10^6 bytes per second
	Latency Latency `json:"lat_us"`
	Errors  int64   `json:"errors"`
	CPU     float64 `json:"cpu_s"` // of Result.CPU, by the number of requests
	Seconds float64 `json:"seconds"`
}

// Spread is what single sessions did: requests per second, of both directions.
type Spread struct {
	Slowest float64 `json:"slowest"`
	Median  float64 `json:"median"`
	Fastest float64 `json:"fastest"`
}

// Latency are quantiles in microseconds. The maximum is exact, the others to
// three digits.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Sample is one interval of a time series.
type Sample struct {
	Second float64 `json:"t"` // its end, since the beginning of the measurement
	Read   *Point  `json:"read,omitempty"`
	Write  *Point  `json:"write,omitempty"`
}

// Point is what one direction did in an interval.
type Point struct {
	IOPS   float64 `json:"iops"`
	MB     float64 `json:"mb_s"`
	P50    float64 `json:"p50_us"`
	P99    float64 `json:"p99_us"`
	Max    float64 `json:"max_us"`
	Errors int64   `json:"errors"`
}

// Verification is what was found about the data.
type Verification struct {
	Checked     int64 `json:"checked"`     // requests whose blocks were looked at
	Unknown     int64 `json:"unknown"`     // blocks that no verifying run wrote
	Miscompares int64 `json:"miscompares"` // requests that brought a block which it should not
	ReadBack    int64 `json:"read_back"`   // requests read again at the end
}

// tally is what one session did in one direction since it was taken last.
type tally struct {
	hist   *histogram
	ios    int64
	bytes  int64
	errors int64
	max    int64 // ns
}

func newTally() *tally { return &tally{hist: newHistogram()} }

func (t *tally) record(ns, bytes int64, failed bool) {
	if failed {
		t.errors++
		return
	}
	ns = max(ns, 1)
	t.ios++
	t.bytes += bytes
	t.max = max(t.max, ns)
	t.hist.record(ns)
}

func (t *tally) add(o *tally) {
	t.ios += o.ios
	t.bytes += o.bytes
	t.errors += o.errors
	t.max = max(t.max, o.max)
	t.hist.merge(o.hist)
}

func (t *tally) reset() {
	t.hist.reset()
	t.ios, t.bytes, t.errors, t.max = 0, 0, 0, 0
}

// quantile returns a quantile in microseconds.
func (t *tally) quantile(q float64) float64 { return micros(min(t.hist.at(q), t.max)) }

func micros(ns int64) float64 { return round(float64(ns)/1000, 1) }

// round keeps digits behind the point: more than was measured only confuses.
func round(x float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(x*p) / p
}

func (t *tally) direction(d time.Duration, cpu float64) *Direction {
	s := d.Seconds()
	out := &Direction{
		Latency: Latency{P50: t.quantile(50), P99: t.quantile(99), P999: t.quantile(99.9), Max: micros(t.max)},
		Errors:  t.errors, CPU: round(cpu, 3), Seconds: round(s, 3),
	}
	if s > 0 {
		out.IOPS, out.MB = round(float64(t.ios)/s, 1), round(float64(t.bytes)/s/1e6, 3)
	}
	return out
}

func (t *tally) point(d time.Duration) *Point {
	p := &Point{P50: t.quantile(50), P99: t.quantile(99), Max: micros(t.max), Errors: t.errors}
	if s := d.Seconds(); s > 0 {
		p.IOPS, p.MB = round(float64(t.ios)/s, 1), round(float64(t.bytes)/s/1e6, 3)
	}
	return p
}
