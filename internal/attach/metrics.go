package attach

import (
	"github.com/prometheus/client_golang/prometheus"

	"sango/internal/block/layer/sched"
	"sango/internal/block/layer/stats"
)

// The metrics of an attachment; each has the label attachment.
var (
	metricServing   = desc("sango_attach_serving", "1 while a path serves.")
	metricSize      = desc("sango_attach_size_bytes", "Size of the volume.")
	metricRequests  = desc("sango_attach_requests_total", "Requests that ended, by operation.", "op")
	metricBytes     = desc("sango_attach_bytes_total", "Bytes moved, by operation.", "op")
	metricErrors    = desc("sango_attach_errors_total", "Requests that failed, by operation.", "op")
	metricLatency   = desc("sango_attach_latency_seconds", "Time of requests, by operation.", "op")
	metricInFlight  = desc("sango_attach_in_flight", "Requests under way.")
	metricQueued    = desc("sango_attach_queued", "Requests that wait in the scheduler, by class.", "class")
	metricMerged    = desc("sango_attach_merged_total", "Requests that went down together with others, by class.", "class")
	metricPathUp    = desc("sango_attach_path_usable", "1 while requests may take the path.", "portal", "state")
	metricPathCmds  = desc("sango_attach_path_commands_total", "Commands sent on the path.", "portal")
	metricPathBytes = desc("sango_attach_path_bytes_total", "Bytes of commands sent on the path.", "portal")
	metricPathErrs  = desc("sango_attach_path_errors_total", "Commands that failed or were lost on the path.", "portal")
	metricPathLost  = desc("sango_attach_path_losses_total", "Sessions lost on the path.", "portal")
	metricPathTime  = desc("sango_attach_path_latency_seconds", "Smoothed latency of the path.", "portal")
	metricRetries   = desc("sango_attach_retries_total", "Commands sent again.")
	metricFences    = desc("sango_attach_fences_total", "FENCE commands that succeeded.")
	metricQuiesced  = desc("sango_attach_quiesced_total", "Lost sessions that were waited out for want of a fence.")
	metricRefused   = desc("sango_attach_no_path_total", "Commands that ended since there was no path.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"attachment"}, labels...), nil)
}

// collector reads the metrics when they are asked for.
type collector struct{ a *attachment }

// Describe implements prometheus.Collector: which metrics there are depends on
// the source.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	name := c.a.o.Name
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, t, v, append([]string{name}, labels...)...)
	}
	const count, gauge = prometheus.CounterValue, prometheus.GaugeValue
	s := c.a.stack.Load()
	if s == nil {
		send(metricServing, gauge, 0)
		return
	}
	serving := s.paths == nil
	snap := s.top.Snapshot()
	send(metricSize, gauge, float64(s.top.Info().Size))
	send(metricInFlight, gauge, float64(snap.InFlight))
	for _, op := range opNames {
		o := snap.Ops[op]
		send(metricRequests, count, float64(o.Requests), op.String())
		send(metricBytes, count, float64(o.Bytes), op.String())
		send(metricErrors, count, float64(o.Errors), op.String())
		buckets, n := map[float64]uint64{}, uint64(0)
		for i := range stats.Buckets {
			n += o.Latency[i]
			if b := stats.Bound(i); b > 0 {
				buckets[b.Seconds()] = n
			}
		}
		to <- prometheus.MustNewConstHistogram(metricLatency, n, o.Total.Seconds(), buckets, name, op.String())
	}
	st := s.sched.Stats()
	for class := range st.Classes {
		label := sched.Class(class).String()
		send(metricQueued, gauge, float64(st.Classes[class].Waiting), label)
		send(metricMerged, count, float64(st.Classes[class].Merged), label)
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
			send(metricPathUp, gauge, number(p.Usable), p.Portal, p.State.String())
			send(metricPathCmds, count, float64(p.Commands), p.Portal)
			send(metricPathBytes, count, float64(p.Bytes), p.Portal)
			send(metricPathErrs, count, float64(p.Errors), p.Portal)
			send(metricPathLost, count, float64(p.Losses), p.Portal)
			send(metricPathTime, gauge, p.Latency.Seconds(), p.Portal)
		}
		send(metricRetries, count, float64(v.Counters.Retries))
		send(metricFences, count, float64(v.Counters.Fences))
		send(metricQuiesced, count, float64(v.Counters.Quiesced))
		send(metricRefused, count, float64(v.Counters.Refused))
	}
	send(metricServing, gauge, number(serving))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
