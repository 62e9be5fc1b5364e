package main

import (
	"math"
	"time"
)

// latencies counts durations in steps of a fiftieth, up to more than a minute. There is one for each session of
// a loader: they are small.
type latencies struct {
	counts [1300]uint32
	n      int64
}

var step = math.Log(1.02)

func (l *latencies) record(d time.Duration) {
	i := int(math.Log(max(1, float64(d))) / step)
	l.counts[min(i, len(l.counts)-1)]++
	l.n++
}

func (l *latencies) add(o *latencies) {
	for i, c := range o.counts {
		l.counts[i] += c
	}
	l.n += o.n
}

// quantile returns the upper end of the step in which the quantile is, in microseconds.
func (l *latencies) quantile(q float64) float64 {
	var seen int64
	for i, c := range l.counts {
		if seen += int64(c); c > 0 && float64(seen) >= q*float64(l.n) {
			return math.Exp(float64(i+1)*step) / 1e3
		}
	}
	return 0
}
