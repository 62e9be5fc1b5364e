package cli

import (
	"fmt"
	"io"
	"strconv"

	"sango/internal/bench"
	"sango/internal/san"
)

// benchReport is what sango bench prints.
type benchReport struct {
	Target    string        `json:"target"`
	LUN       san.LUN       `json:"lun"`
	Portals   []string      `json:"portals"`
	Size      int64         `json:"size"`
	BlockSize int           `json:"block_size"`
	Pattern   bench.Pattern `json:"rw"`
	Request   int64         `json:"bs"`
	Depth     int           `json:"depth"`
	Sessions  int           `json:"sessions"`
	Raw       bool          `json:"raw"`
	*bench.Result
}

func (r *benchReport) people(w io.Writer) {
	fmt.Fprintf(w, "LUN %d of %s: %s in blocks of %d\n", r.LUN, r.Target, size(r.Size), r.BlockSize)
	sessions := "1 session"
	if r.Sessions > 1 {
		sessions = fmt.Sprintf("%d sessions", r.Sessions)
	}
	note := ""
	if r.Interrupted {
		note = ", interrupted"
	}
	fmt.Fprintf(w, "%s, %s, depth %d in %s, %.1f s%s\n\n", r.Pattern, size(r.Request), r.Depth, sessions, r.Seconds, note)
	var rows [][]string
	for _, d := range []struct {
		name string
		d    *bench.Direction
	}{{"read", r.Read}, {"write", r.Write}} {
		if d.d == nil {
			continue
		}
		l := d.d.Latency
		rows = append(rows, []string{
			d.name, number(d.d.IOPS, 0), number(d.d.MB, 1), number(l.P50, 0), number(l.P99, 0), number(l.P999, 0), number(l.Max, 0),
			strconv.FormatInt(d.d.Errors, 10), number(d.d.CPU, 2),
		})
	}
	table(w, []string{"", "IOPS", "MB/s", "P50 µs", "P99 µs", "P99.9 µs", "MAX µs", "ERRORS", "CPU s"}, rows)
	if p := r.Spread; p != nil {
		fmt.Fprintf(w, "\nsessions: the slowest made %s requests a second, the median %s, the fastest %s\n", number(p.Slowest, 0), number(p.Median, 0), number(p.Fastest, 0))
	}
	if v := r.Verify; v != nil {
		fmt.Fprintf(w, "\nverified: %d requests checked, %d of them read again at the end, %d wrong", v.Checked, v.ReadBack, v.Miscompares)
		if v.Unknown > 0 {
			fmt.Fprintf(w, "; %d blocks came from no verifying run", v.Unknown)
		}
		fmt.Fprintln(w)
	}
	for _, m := range r.Messages {
		fmt.Fprintln(w, "error:", m)
	}
}

// number writes a number with digits behind the point.
func number(x float64, digits int) string { return strconv.FormatFloat(x, 'f', digits, 64) }

// benchTick is a line for each interval.
func benchTick(s bench.Sample) string {
	line := fmt.Sprintf("%8.1f s", s.Second)
	for _, d := range []struct {
		name string
		p    *bench.Point
	}{{"read", s.Read}, {"write", s.Write}} {
		if d.p != nil {
			line += fmt.Sprintf("   %s %.0f IOPS, %.1f MB/s, p99 %.0f µs, max %.0f µs", d.name, d.p.IOPS, d.p.MB, d.p.P99, d.p.Max)
		}
	}
	return line
}
