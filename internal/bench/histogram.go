package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of a histogram, in nanoseconds.
const (
	lowest  = 100
	highest = int64(10 * time.Minute)
	digits  = 3
)

// histogram counts latencies in ns, to three digits.
type histogram struct{ h *hdrhistogram.Histogram }

func newHistogram() *histogram { return &histogram{hdrhistogram.New(lowest, highest, digits)} }

// record counts ns, at most highest.
func (h *histogram) record(ns int64) {
	_ = h.h.RecordValue(min(ns, highest)) // fails past highest only
}

func (h *histogram) merge(o *histogram) { h.h.Merge(o.h) }
func (h *histogram) reset()             { h.h.Reset() }

// at returns the value at the percentile p, 0 of an empty histogram.
func (h *histogram) at(p float64) int64 {
	if h.h.TotalCount() == 0 {
		return 0
	}
	return h.h.ValueAtPercentile(p)
}
