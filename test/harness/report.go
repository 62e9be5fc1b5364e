package harness

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Report prints steps as they end, and counts them.
type Report struct {
	W              io.Writer
	Passed, Failed int
}

// Step runs one step and prints how it went. Later steps run even if it failed; it returns whether it passed.
func (r *Report) Step(name string, f func() error) bool {
	start := time.Now()
	err := f()
	r.Add(name, time.Since(start), err)
	return err == nil
}

// Add counts and prints a step that was run elsewhere.
func (r *Report) Add(name string, took time.Duration, err error) {
	if err != nil {
		r.Failed++
		fmt.Fprintf(r.W, "FAIL %s (%.1f s)\n     %s\n", name, took.Seconds(), strings.ReplaceAll(err.Error(), "\n", "\n     "))
		return
	}
	r.Passed++
	fmt.Fprintf(r.W, "ok   %s (%.1f s)\n", name, took.Seconds())
}

// Err prints the totals, and returns an error if a step failed or none ran.
func (r *Report) Err() error {
	fmt.Fprintf(r.W, "%d steps passed, %d failed\n", r.Passed, r.Failed)
	switch {
	case r.Failed > 0:
		return fmt.Errorf("%d of %d steps failed", r.Failed, r.Passed+r.Failed)
	case r.Passed == 0:
		return fmt.Errorf("no step ran")
	}
	return nil
}
