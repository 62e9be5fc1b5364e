package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// report is results.json.
type report struct {
	Date     string            `json:"date"`
	Short    bool              `json:"short,omitempty"` // the figures mean little
	Seconds  float64           `json:"seconds"`
	Rounds   int               `json:"rounds"`
	RunTime  float64           `json:"run_seconds"`
	Size     int64             `json:"volume_bytes"`
	Only     string            `json:"only,omitempty"`
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Failures []string          `json:"failures,omitempty"` // what did not run
	Cases    []*caseResult     `json:"cases"`
}

// caseResult is what a case gave.
type caseResult struct {
	ID         string             `json:"id"`
	Title      string             `json:"title"`
	Client     string             `json:"client"`
	Main       metric             `json:"metric"` // what the load is about
	Contenders []*contenderResult `json:"contenders"`
	Judged     []*judged          `json:"judged"`

	claims []claim
}

// contenderResult is what one contender did, round by round and in all.
type contenderResult struct {
	Name   string            `json:"name"`
	Rounds []sample          `json:"rounds"`
	All    map[metric]spread `json:"all"`
}

// judged is a claim and what came of it. Values are one for each round: of a ratio each is made of two runs that
// followed each other.
type judged struct {
	Of     string    `json:"of"`
	To     string    `json:"to,omitempty"` // empty: the figure itself
	Metric metric    `json:"metric"`
	Values []float64 `json:"values"`
	spread
	AtMost bool    `json:"at_most"` // the bar is an upper one
	Bar    float64 `json:"bar,omitempty"`
	Goal   float64 `json:"goal,omitempty"`
	Met    *bool   `json:"met,omitempty"` // absent without a bar
}

func newReport(ctx context.Context, o *options, dir string) (*report, error) {
	r := &report{Date: time.Now().UTC().Format(time.RFC3339), Short: o.short, Rounds: o.rounds, RunTime: o.time.Seconds(), Size: o.size, Only: o.only.String()}
	var err error
	if r.Machine, err = thisMachine(dir); err != nil {
		return nil, err
	}
	r.Versions, err = versions(ctx)
	return r, err
}

func newCaseResult(c *benchCase) *caseResult {
	r := &caseResult{ID: c.id, Title: c.title, Client: c.client, Main: c.main, claims: c.claims}
	for _, x := range c.contenders {
		r.Contenders = append(r.Contenders, &contenderResult{Name: x.name})
	}
	return r
}

// add takes the samples of a round, one of each contender.
func (r *caseResult) add(round []sample) {
	for i, s := range round {
		for m, x := range s {
			s[m] = significant(x)
		}
		r.Contenders[i].Rounds = append(r.Contenders[i].Rounds, s)
	}
}

// judge sums up, and compares with the bars.
func (r *caseResult) judge() {
	for _, c := range r.Contenders {
		c.All = map[metric]spread{}
		for m := range about {
			if v := column(c.Rounds, m); len(v) > 0 {
				c.All[m] = spreadOf(v)
			}
		}
	}
	for _, c := range r.claims {
		if j := r.judgement(c); j != nil {
			r.Judged = append(r.Judged, j)
		}
	}
}

// judgement returns nil where no round has both figures.
func (r *caseResult) judgement(c claim) *judged {
	j := &judged{Of: r.Contenders[c.of].Name, Metric: c.metric, AtMost: about[c.metric].less, Bar: c.bar, Goal: c.goal}
	if c.to >= 0 {
		j.To = r.Contenders[c.to].Name
	}
	for i, s := range r.Contenders[c.of].Rounds {
		x, ok := s[c.metric]
		if !ok {
			continue
		}
		if c.to >= 0 {
			y := r.Contenders[c.to].Rounds[i][c.metric]
			if y == 0 {
				continue
			}
			x /= y
		}
		j.Values = append(j.Values, x)
	}
	if len(j.Values) == 0 {
		return nil
	}
	for i := range j.Values {
		j.Values[i] = significant(j.Values[i])
	}
	j.spread = spreadOf(j.Values)
	if c.bar > 0 {
		met := j.Median >= c.bar
		if j.AtMost {
			met = j.Median <= c.bar
		}
		j.Met = &met
	}
	return j
}

// write makes the three files in dir.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"results.json": string(b) + "\n", "results.md": r.markdown(), "results.svg": r.svg()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
