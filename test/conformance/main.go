// Command conformance runs every test of Debian's iscsi-test-cu against sango demo, each in a process of its own and on
// the kind of logical unit it needs, on 512-byte and on 4096-byte blocks. It counts what passes, fails and skips, also
// what the suite skips silently, and fails unless all that is not a pass stands in exceptions.txt with its reason.
//
//	conformance                                   everything
//	conformance -v Unmap.VPD                      one test, with its output
//	conformance -block 512 'Write*' Sanitize      some of them
//	conformance -url thin=iscsi://HOST/IQN/1 ...  another target, to compare
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sango/test/harness"
)

//go:embed shim/skips.c
var shimSource []byte

type options struct {
	sango    string
	blocks   []int
	workers  int
	timeout  time.Duration
	verbose  bool
	far      bool
	urls     fixed
	cache    string
	patterns []string
}

func main() {
	o := options{urls: fixed{}, blocks: []int{512, 4096}}
	flag.Func("block", "`sizes` of blocks, 512, 4096 or both with a comma (default both)", o.setBlocks)
	flag.StringVar(&o.sango, "sango", "bin/sango", "the sango `program`")
	flag.IntVar(&o.workers, "workers", 2, "how many tests run at the same time for each block size")
	flag.DurationVar(&o.timeout, "timeout", 6*time.Minute, "for one test (one of them sleeps for minutes)")
	flag.BoolVar(&o.far, "far", false, "through a gateway that relays to the owner of the volumes")
	flag.BoolVar(&o.verbose, "v", false, "print what the tests write")
	flag.StringVar(&o.cache, "cache", ".cache/conformance", "`directory` for the output of each test")
	flag.Func("url", "`KIND=URL` of another target instead of sango demo; kinds: "+fmt.Sprint(kinds), o.addURL)
	harness.Main("conformance", func(ctx context.Context) error {
		o.patterns = flag.Args()
		if o.verbose || len(o.urls) > 0 {
			o.workers = 1
		}
		return run(ctx, o, os.Stdout)
	})
}

func (o *options) setBlocks(s string) error {
	o.blocks = nil
	for b := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(b)
		if err != nil || chapUsers[n] == "" {
			return fmt.Errorf("want 512, 4096 or both with a comma, not %q", b)
		}
		o.blocks = append(o.blocks, n)
	}
	return nil
}

func (o *options) addURL(s string) error {
	name, url, ok := strings.Cut(s, "=")
	if k := kind(name); ok && slices.Contains(kinds, k) {
		o.urls[k] = append(o.urls[k], url)
		return nil
	}
	return fmt.Errorf("want KIND=URL with a kind of %v", kinds)
}

func run(ctx context.Context, o options, w io.Writer) error {
	if err := harness.Need("iscsi-test-cu", "gcc"); err != nil {
		return err
	}
	exceptions, err := parseExceptions(exceptionsFile)
	if err != nil {
		return err
	}
	tests, err := list(ctx)
	if err != nil {
		return err
	}
	chosen, err := choose(tests, o.patterns)
	if err != nil {
		return err
	}
	t := &tester{logs: o.cache, timeout: o.timeout}
	if o.verbose {
		t.echo = w
	}
	if t.shim, err = buildShim(ctx, o.cache); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	fmt.Fprintf(w, "iscsi-test-cu lists %d tests; %d run here, on blocks of %v bytes\n", len(tests), len(chosen), o.blocks)
	results, err := runAll(ctx, o, t, longFirst(chosen), tmp)
	if missing := len(chosen)*len(o.blocks) - len(results); err == nil && missing > 0 {
		err = fmt.Errorf("%d tests did not run", missing)
	}
	return errors.Join(err, summarize(w, results, exceptions, o.blocks))
}

// buildShim compiles the library that makes skips visible.
func buildShim(ctx context.Context, dir string) (string, error) {
	dir, err := filepath.Abs(dir) // LD_PRELOAD wants a path with a slash
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	source, lib := filepath.Join(dir, "shim.c"), filepath.Join(dir, "shim.so")
	if err := os.WriteFile(source, shimSource, 0o644); err != nil {
		return "", err
	}
	_, err = harness.Run(ctx, time.Minute, "gcc", "-Wall", "-Werror", "-O1", "-fPIC", "-shared", "-o", lib, source, "-ldl")
	return lib, err
}

// runAll runs the tests on every block size, o.workers at a time for each.
func runAll(ctx context.Context, o options, t *tester, tests []test, tmp string) ([]result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		mu      sync.Mutex
		results []result
		wg      sync.WaitGroup
	)
	for _, block := range o.blocks {
		queue := make(chan test, len(tests))
		for _, t := range tests {
			queue <- t
		}
		close(queue)
		for i := range o.workers {
			var p place = &demos{binary: o.sango, block: block, far: o.far, dir: filepath.Join(tmp, fmt.Sprintf("%d-%d", block, i))}
			if len(o.urls) > 0 {
				p = o.urls
			}
			wg.Go(func() {
				defer func() {
					if err := p.close(); err != nil {
						cancel(err)
					}
				}()
				for tc := range queue {
					k := kindFor(tc)
					urls, err := p.urls(ctx, k)
					if err != nil {
						cancel(err)
						return
					}
					r := t.run(ctx, tc, block, k, urls)
					if ctx.Err() != nil {
						return
					}
					if r.out == fail {
						if err := p.dirty(); err != nil {
							r.reason += ": " + err.Error()
						}
					}
					mu.Lock()
					results = append(results, r)
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	return results, context.Cause(ctx)
}

// summarize prints all that is not a plain pass and the totals, and returns an error unless exceptions cover it.
func summarize(w io.Writer, results []result, exceptions []exception, blocks []int) error {
	slices.SortFunc(results, func(a, b result) int {
		if a.block != b.block {
			return a.block - b.block
		}
		return strings.Compare(a.test.name, b.test.name)
	})
	bad := 0
	for _, block := range blocks {
		count := map[outcome]int{}
		excuses := 0
		for _, r := range results {
			if r.block != block {
				continue
			}
			count[r.out]++
			if r.out == pass {
				continue
			}
			if e, ok := excused(exceptions, r); ok {
				excuses++
				fmt.Fprintf(w, "%-4d %s (expected) %s: %s\n", r.block, r.out, r.test.name, e.reason)
				continue
			}
			bad++
			fmt.Fprintf(w, "%-4d %s %s on %s (%.1f s): %s\n       see %s\n",
				r.block, strings.ToUpper(string(r.out)), r.test.name, r.kind, r.took.Seconds(), r.reason, r.log)
		}
		fmt.Fprintf(w, "%d-byte blocks: %d passed (%d of them but for a part that does not apply), %d failed, %d skipped of %d; %d are exceptions with a reason\n",
			block, count[pass]+count[part], count[part], count[fail], count[skip], count[pass]+count[part]+count[fail]+count[skip], excuses)
	}
	if bad > 0 {
		return fmt.Errorf("%d tests did not pass and are no exception", bad)
	}
	if len(results) == 0 {
		return fmt.Errorf("no test ran")
	}
	return nil
}
