package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress tells how long work goes: a bar on a terminal, a line for every
// tenth elsewhere, nothing when the output is for programs. That a bar cannot
// be drawn does not matter.
type progress struct {
	what  string
	total int64
	bar   *progressbar.ProgressBar
	lines io.Writer
	told  int64 // tenths that were told
}

func (a *app) progress(o output, what string, total int64) *progress {
	p := &progress{what: what, total: total}
	switch {
	case o != outputTable:
	case a.terminal:
		p.bar = progressbar.NewOptions64(max(total, 1),
			progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	default:
		p.lines = a.err
	}
	return p
}

// set tells that done bytes of total are done; total may have changed.
func (p *progress) set(done, total int64) {
	if total != p.total && total > 0 {
		p.total = total
		if p.bar != nil {
			p.bar.ChangeMax64(total)
		}
	}
	switch {
	case p.bar != nil:
		_ = p.bar.Set64(min(done, p.total))
	case p.lines != nil && p.total > 0:
		if tenth := done * 10 / p.total; tenth > p.told {
			p.told = tenth
			fmt.Fprintf(p.lines, "%s: %d%% (%s of %s)\n", p.what, done*100/p.total, size(done), size(p.total))
		}
	}
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// steps is progress over things that are counted, not measured.
func (a *app) steps(o output, what string) *progress {
	p := a.progress(outputJSON, what, 0) // quiet
	switch {
	case o != outputTable:
	case a.terminal:
		p.bar = progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(a.err), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	default:
		p.lines = a.err
	}
	return p
}

// left tells that of most there are some to be done still.
func (p *progress) left(left, most int) {
	switch {
	case p.lines == nil:
		p.step(most-left, most)
	case left > 0:
		if tenth := int64((most-left)*10/most) + 1; tenth > p.told { // the first time too
			p.told = tenth
			fmt.Fprintf(p.lines, "%s: %d still\n", p.what, left)
		}
	}
}

// step tells that done of total are done.
func (p *progress) step(done, total int) {
	switch {
	case p.bar != nil:
		p.bar.ChangeMax(max(total, 1))
		_ = p.bar.Set(done)
	case p.lines != nil && total > 0:
		if tenth := int64(done * 10 / total); tenth > p.told {
			p.told = tenth
			fmt.Fprintf(p.lines, "%s: %d of %d\n", p.what, done, total)
		}
	}
}
