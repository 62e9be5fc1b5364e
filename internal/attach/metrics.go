package attach

import (
	"github.com/prometheus/client_golang/prometheus"

	"sango/internal/block/layer/sched"
	"sango/internal/block/layer/stats"
)

// metric is one of the metrics of an attachment; each has the label attachment.
type metric struct {
	*prometheus.Desc
	name, help, kind string
	labels           []string // besides attachment
}

// The kinds of metrics.
const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"
)

// metrics are all there are; testdata/metrics.golden and docs/host.md list them.
var metrics []metric

// The metrics, by their names in the code.
var (
	metricServing   = define(gauge, "sango_attach_serving", "1 while a path serves.")
	metricSize      = define(gauge, "sango_attach_size_bytes", "Size of the volume.")
	metricRequests  = define(counter, "sango_attach_requests_total", "Requests that ended, by operation.", "op")
	metricBytes     = define(counter, "sango_attach_bytes_total", "Bytes moved, by operation.", "op")
	metricErrors    = define(counter, "sango_attach_errors_total", "Requests that failed, by operation.", "op")
	metricLatency   = define(histogram, "sango_attach_latency_seconds", "Time of requests, by operation.", "op")
	metricInFlight  = define(gauge, "sango_attach_in_flight", "Requests under way.")
	metricQueued    = define(gauge, "sango_attach_queued", "Requests that wait in the scheduler, by class.", "class")
	metricMerged    = define(counter, "sango_attach_merged_total", "Requests that went down together with others, by class.", "class")
	metricPathUp    = define(gauge, "sango_attach_path_usable", "1 while requests may take the path.", "portal", "state")
	metricPathCmds  = define(counter, "sango_attach_path_commands_total", "Commands sent on the path.", "portal")
	metricPathBytes = define(counter, "sango_attach_path_bytes_total", "Bytes of commands sent on the path.", "portal")
	metricPathErrs  = define(counter, "sango_attach_path_errors_total", "Commands that failed or were lost on the path.", "portal")
	metricPathLost  = define(counter, "sango_attach_path_losses_total", "Sessions lost on the path.", "portal")
	metricPathTime  = define(gauge, "sango_attach_path_latency_seconds", "Smoothed latency of the path.", "portal")
	metricRetries   = define(counter, "sango_attach_retries_total", "Commands sent again.")
	metricFences    = define(counter, "sango_attach_fences_total", "FENCE commands that succeeded.")
	metricQuiesced  = define(counter, "sango_attach_quiesced_total", "Lost sessions that were waited out for want of a fence.")
	metricRefused   = define(counter, "sango_attach_no_path_total", "Commands that ended since there was no path.")
)

func define(kind, name, help string, labels ...string) metric {
	d := prometheus.NewDesc(name, help, append([]string{"attachment"}, labels...), nil)
	m := metric{Desc: d, name: name, help: help, kind: kind, labels: labels}
	metrics = append(metrics, m)
	return m
}

// collector reads the metrics when they are asked for.
type collector struct{ a *attachment }

// Describe implements prometheus.Collector: which metrics there are depends on
// the source.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	name := c.a.o.Name
	send := func(m metric, v float64, labels ...string) {
		t := prometheus.GaugeValue
		if m.kind == counter {
			t = prometheus.CounterValue
		}
		to <- prometheus.MustNewConstMetric(m.Desc, t, v, append([]string{name}, labels...)...)
	}
	s := c.a.stack.Load()
	if s == nil {
		send(metricServing, 0)
		return
	}
	serving := s.paths == nil
	snap := s.top.Snapshot()
	send(metricSize, float64(s.top.Info().Size))
	send(metricInFlight, float64(snap.InFlight))
	for _, op := range opNames {
		o := snap.Ops[op]
		send(metricRequests, float64(o.Requests), op.String())
		send(metricBytes, float64(o.Bytes), op.String())
		send(metricErrors, float64(o.Errors), op.String())
		buckets, n := map[float64]uint64{}, uint64(0)
		for i := range stats.Buckets {
			n += o.Latency[i]
			if b := stats.Bound(i); b > 0 {
				buckets[b.Seconds()] = n
			}
		}
		to <- prometheus.MustNewConstHistogram(metricLatency.Desc, n, o.Total.Seconds(), buckets, name, op.String())
	}
	var st sched.Stats
	if s.sched != nil {
		st = s.sched.Stats()
	}
	for class := range st.Classes {
		label := sched.Class(class).String()
		send(metricQueued, float64(st.Classes[class].Waiting), label)
		send(metricMerged, float64(st.Classes[class].Merged), label)
	}
	if s.paths != nil {
		v := s.paths.View()
		serving = v.Serving
		seen := map[string]bool{}
		for _, p := range v.Paths {
			if seen[p.Portal] {
				continue // labels must differ
			}
			seen[p.Portal] = true
			send(metricPathUp, number(p.Usable), p.Portal, p.State.String())
			send(metricPathCmds, float64(p.Commands), p.Portal)
			send(metricPathBytes, float64(p.Bytes), p.Portal)
			send(metricPathErrs, float64(p.Errors), p.Portal)
			send(metricPathLost, float64(p.Losses), p.Portal)
			send(metricPathTime, p.Latency.Seconds(), p.Portal)
		}
		send(metricRetries, float64(v.Counters.Retries))
		send(metricFences, float64(v.Counters.Fences))
		send(metricQuiesced, float64(v.Counters.Quiesced))
		send(metricRefused, float64(v.Counters.Refused))
	}
	send(metricServing, number(serving))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
