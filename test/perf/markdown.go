package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sango/internal/san"
)

// intro says how to read the tables.
const intro = `Only ratios within one run mean something: the machine is part of every figure. In each round of a case its contenders
run one after the other, each for %.3g s (of the limits: a third), and the order turns from round to round; a ratio is taken within a round, and what is
shown is the median of %d rounds with the lowest and the highest. Client and server share the processors, over the loopback.
[NOTES.md](NOTES.md) says what was tried to get there.

`

// fine says what could be unfair, in either direction.
const fine = `## What to know about the comparison

- **One machine.** A client takes processor time from the server that it measures. The faster the server, the more of the
  machine its client needs, so ratios here are lower than they would be with a client of its own machine. A client that
  costs less per request shows higher figures with either server: that is why three of them measure the target.
- **Files.** Each target serves a file of its own of %s, on the same filesystem, whole in the page cache: both were
  filled in turns, page by page, and written to the disk before anything is measured; so is what a run has written, after it. The
  rows of pread and pwrite show how far both files are in the same state. After all rounds both must still be in the page cache.
- **tgt** is Debian's, as it comes: 16 threads for I/O, write-back, digests off. Its volume is made thin, as ours are, since
  QEMU asks a thin volume before long reads what is allocated.
- **Waiting.** Sango's target and initiator may look for a next request a few microseconds before they sleep. With depth 1
  that takes processor time which is not needed elsewhere; it is in the processor time of the rows.
- **Congestion control.** Where the machine is set to BBR, Sango's target and initiator take it off their own connections within the
  machine; tgt, libiscsi and iperf3 send with it, by a timer. The ratios of long reads and writes are larger for that.
- **iscsi-perf** reads only and tells no latency. **qemu-img bench** reads and writes sequentially and tells none either; its
  rows with 4k have no bar, because the bar is for random places. Sango's client in the initiator's rows reads and writes
  sequentially too where qemu-img is its peer, and goes through the multipath engine over two portals of one target.
- **NBD.** The data of all three is in memory, written once before. nbdkit and Sango copy it within the process; qemu-nbd reads and
  writes a file on tmpfs with system calls, as it can't keep data itself.
- **Processor time** of a server is utime + stime of its process from the start of its client to the end, by the requests that
  were answered; that of a client includes its start. Work of the kernel that is charged to nobody is in neither.
- **Peak memory** is VmHWM, reset before each run; the page cache is not in it. For the volumes' rows it includes the start.
- **Idle sessions**: RSS of a new server before and 3 s after their login, by their number; buffers in the kernel are not in it.

`

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Speed\n\nMade by `make bench` (`test/perf`) on %s, in %.0f s; do not edit.\n\n", r.Date, r.Seconds)
	if r.Short || r.Only != "" {
		b.WriteString("**This was a short or partial run: it shows that everything runs; its figures mean little.**\n\n")
	}
	fmt.Fprintf(&b, intro, r.RunTime, r.Rounds)
	m := r.Machine
	fmt.Fprintf(&b, "| machine | |\n|---|---|\n| processor | %s, %d cores |\n| memory | %s MiB |\n| kernel | %s |\n| system | %s |\n| filesystem | %s |\n| TCP congestion control | %s |\n",
		m.CPU, m.Cores, grouped(float64(m.MemoryMiB), 0), m.Kernel, m.OS, m.Filesystem, m.Congestion)
	for _, k := range slices.Sorted(maps.Keys(r.Versions)) {
		fmt.Fprintf(&b, "| %s | %s |\n", k, r.Versions[k])
	}
	met, all := r.bars()
	fmt.Fprintf(&b, "\n**%d of %d bars are met.**\n\n![ratios with their bars](results.svg)\n\n", met, all)
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "Did not run: %s\n\n", strings.ReplaceAll(f, "\n", " "))
	}
	r.inSections(func(s section, cases []*caseResult) {
		fmt.Fprintf(&b, "## %s\n\n", s.title)
		judgedTable(&b, cases)
		figureTable(&b, cases)
	})
	fmt.Fprintf(&b, fine, san.FormatSize(r.Size))
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// judgedTable writes the claims of the cases.
func judgedTable(b *strings.Builder, cases []*caseResult) {
	b.WriteString("| load | client | figure | | beside | ratio | lowest to highest | bar | goal | |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range cases {
		for i, x := range c.rows() {
			if i > 0 {
				x.load, x.client = "", ""
			}
			if x.verdict == "not met" {
				x.verdict = "**not met**"
			}
			fmt.Fprintf(b, "| %s |\n", strings.Join([]string{x.load, x.client, x.what, x.left, x.right, x.ratio, x.spread, x.bar, x.goal, x.verdict}, " | "))
		}
	}
	b.WriteString("\n")
}

// shown are the columns of figureTable.
var shown = []metric{iops, mbs, p50, p99, serverCPU, clientCPU, othersCPU, peak, ready, rss, manageTime, fairness, idleRSS}

// figureTable writes the medians of all figures, and of the main one also the lowest and highest.
func figureTable(b *strings.Builder, cases []*caseResult) {
	var columns []metric
	for _, m := range shown {
		if slices.ContainsFunc(cases, func(c *caseResult) bool {
			return slices.ContainsFunc(c.Contenders, func(x *contenderResult) bool { _, ok := x.All[m]; return ok })
		}) {
			columns = append(columns, m)
		}
	}
	b.WriteString("<details><summary>All figures: medians, and in brackets the lowest and highest</summary>\n\n| load | client | |")
	for _, m := range columns {
		fmt.Fprintf(b, " %s |", m)
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---:|", len(columns)) + "\n")
	for _, c := range cases {
		for _, x := range c.Contenders {
			fmt.Fprintf(b, "| %s | %s | %s |", c.Title, c.Client, x.Name)
			for _, m := range columns {
				s, ok := x.All[m]
				switch {
				case !ok:
					b.WriteString(" |")
				case m == c.Main:
					fmt.Fprintf(b, " %s (%s–%s) |", m.format(s.Median), m.format(s.Min), m.format(s.Max))
				default:
					fmt.Fprintf(b, " %s |", m.format(s.Median))
				}
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n</details>\n\n")
}
