package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, x := range []struct {
		in   []float64
		want spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{5, 1, 3}, spread{3, 1, 5}},
		{[]float64{4, 1, 3, 2}, spread{2.5, 1, 4}},
	} {
		if got := spreadOf(x.in); got != x.want {
			t.Errorf("%v: %+v, want %+v", x.in, got, x.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, x := range []struct {
		v      float64
		digits int
		want   string
	}{{0, 0, "0"}, {999, 0, "999"}, {1000, 0, "1,000"}, {1234567.891, 2, "1,234,567.89"}, {-1234, 0, "-1,234"}, {0.5, 2, "0.50"}} {
		if got := grouped(x.v, x.digits); got != x.want {
			t.Errorf("%v: %s, want %s", x.v, got, x.want)
		}
	}
	for in, want := range map[float64]float64{0: 0, 123456.7: 123460, 0.0012345678: 0.0012346, -99999.9: -100000} {
		if got := significant(in); got != want {
			t.Errorf("%v: %v, want %v", in, got, want)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var l latencies
	for range 98 {
		l.record(10 * time.Microsecond)
	}
	l.record(100 * time.Microsecond)
	l.record(100 * time.Microsecond)
	if q := l.quantile(0.5); q < 9.8 || q > 10.3 {
		t.Errorf("median %v µs, want 10 within a step", q)
	}
	if q := l.quantile(0.99); q < 98 || q > 103 {
		t.Errorf("p99 %v µs, want 100 within a step", q)
	}
	if (&latencies{}).quantile(0.5) != 0 {
		t.Error("a median of nothing")
	}
}

// exampleReport has a case with ratios, one of which misses its bar, one with a bar on the figure itself, and one with nothing
// to judge.
func exampleReport() *report {
	two := newCaseResult(&benchCase{
		id: "target/a/b", title: "4k <load>", client: "client", main: iops, contenders: []contender{{name: "sango"}, {name: "tgt"}},
		claims: []claim{ratio(iops, 3, 4), ratio(p99, 1, 0.6), ratio(serverCPU, 0.5, 0)},
	})
	two.add([]sample{{iops: 300, p99: 10}, {iops: 100, p99: 8}})
	two.add([]sample{{iops: 800, p99: 10}, {iops: 200, p99: 9}})
	two.add([]sample{{iops: 100, p99: 10}, {iops: 400, p99: 5}})
	one := newCaseResult(&benchCase{
		id: "sessions/a/b", title: "sessions", client: "client", main: idleRSS, contenders: []contender{{name: "sango"}},
		claims: []claim{absolute(0, idleRSS, 64)},
	})
	one.add([]sample{{idleRSS: 20}})
	none := newCaseResult(&benchCase{id: "limit/c/d", title: "a limit", client: "client", main: mbs, contenders: []contender{{name: "stream"}}})
	none.add([]sample{{mbs: 4000}})
	r := &report{Rounds: 3, RunTime: 3, Size: 1 << 30, Versions: map[string]string{"go": "1.26"}, Cases: []*caseResult{two, one, none}}
	for _, c := range r.Cases {
		c.judge()
	}
	return r
}

func TestRatiosArePairedByRound(t *testing.T) {
	c := exampleReport().Cases[0]
	if len(c.Judged) != 2 {
		t.Fatalf("%d judgements, want 2: nobody has processor time", len(c.Judged))
	}
	rate, late := c.Judged[0], c.Judged[1]
	if rate.spread != (spread{3, 0.25, 4}) || !*rate.Met {
		t.Errorf("IOPS %+v met %v, want 3 of 0.25 to 4, met", rate.spread, *rate.Met)
	}
	if late.spread != (spread{1.25, 1.1111, 2}) || *late.Met || !late.AtMost {
		t.Errorf("p99 %+v met %v, want 1.25 of 1.1111 to 2, not met", late.spread, *late.Met)
	}
	if all := c.Contenders[1].All[iops]; all != (spread{200, 100, 400}) {
		t.Errorf("tgt %+v", all)
	}
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if err := exampleReport().write(dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var r report
	if err := json.Unmarshal([]byte(read("results.json")), &r); err != nil {
		t.Error(err)
	}
	if len(r.Cases) != 3 || r.Cases[0].Judged[0].Median != 3 {
		t.Errorf("results.json lost something: %+v", r)
	}
	md := read("results.md")
	for _, want := range []string{
		"**2 of 3 bars are met.**", "| 4k <load> | client | IOPS | sango 300 | tgt 200 | 3.00 | 0.25 to 4.00 | ≥ 3.00 | ≥ 4.00 | met |",
		"**not met**", "| sessions | client | KiB per idle session | sango 20.0 |", "| a limit | client | MB/s | stream 4,000 |",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("results.md lacks %q:\n%s", want, md)
		}
	}
}

func TestPlot(t *testing.T) {
	svg := exampleReport().svg()
	d := xml.NewDecoder(strings.NewReader(svg))
	count := map[string]int{}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := tok.(xml.StartElement); ok {
			for _, a := range e.Attr {
				if a.Name.Local == "class" {
					count[a.Value]++
				}
			}
		}
	}
	// One ratio of what a load is about, with its bar; all else is not drawn.
	if count["met"] != 1 || count["mark"] != 1 || count["not"] != 0 {
		t.Errorf("elements by class: %v", count)
	}
	if !strings.Contains(svg, "prefers-color-scheme: dark") {
		t.Error("no colours for a dark background")
	}
}

func TestScale(t *testing.T) {
	for top, want := range map[float64]float64{1: 0.2, 1.5: 0.2, 3.9: 0.5, 5.5: 1, 7.5: 1, 12: 2, 30: 5} {
		if got := tickUnit(top); got < want*0.999 || got > want*1.001 {
			t.Errorf("up to %v: lines every %v, want %v", top, got, want)
		}
	}
}

func TestFilesystem(t *testing.T) {
	const mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n/dev/vdb /srv xfs rw 0 0\n"
	for dir, want := range map[string]string{"/tmp/x": "ext4", "/srv": "xfs", "/srv/a": "xfs", "/srvx": "ext4", "/dev/shm/y": "tmpfs"} {
		if got := filesystem(mounts, dir); got != want {
			t.Errorf("%s: %s, want %s", dir, got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	o, err := parse(nil)
	if err != nil || o.rounds != 5 || o.size != 1<<30 || o.out != filepath.Join("docs", "bench") {
		t.Errorf("%+v, %v", o, err)
	}
	// What is short or partial does not replace the results of a whole run.
	for _, args := range [][]string{{"-short"}, {"-only", "nbd"}} {
		if o, err := parse(args); err != nil || o.out != filepath.Join(".cache", "perf") {
			t.Errorf("%q: %+v, %v", args, o, err)
		}
	}
	if o, err := parse([]string{"-short", "-rounds", "3"}); err != nil || o.rounds != 3 || o.size >= 1<<30 {
		t.Errorf("%+v, %v", o, err)
	}
}

// Every case can be chosen by an id of its own, in the short form too.
func TestIDs(t *testing.T) {
	for _, short := range []bool{false, true} {
		o, err := parse([]string{"-short=" + map[bool]string{true: "true", false: "false"}[short]})
		if err != nil {
			t.Fatal(err)
		}
		p := &perf{options: o}
		nodes := []*node{{count: 1}, {count: 100}}
		cases := p.targetCases(&pair{})
		cases = append(cases, p.initiatorCases(&reached{})...)
		cases = append(cases, p.nbdCases(make([]nbdServer, len(nbdNames)))...)
		cases = append(cases, p.volumeCases(nodes)...)
		seen := map[string]bool{}
		for _, c := range cases {
			if seen[c.id] {
				t.Errorf("%s is there twice", c.id)
			}
			seen[c.id] = true
			for _, cl := range c.claims {
				if cl.of >= len(c.contenders) || cl.to >= len(c.contenders) {
					t.Errorf("%s claims something of nobody", c.id)
				}
			}
		}
	}
}
