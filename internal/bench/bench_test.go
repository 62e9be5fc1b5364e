package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/san"
)

// volume answers from memory on goroutines of its own, after delay, and does
// what is wrong with it.
type volume struct {
	block.Device
	delay time.Duration
	bad   func(n int64, r *block.Request) (skip bool, err error)
	n     atomic.Int64
	wait  sync.WaitGroup
	most  atomic.Int64
	now   atomic.Int64
	seen  func(r *block.Request)
}

func memory(t *testing.T, size int64) block.Device {
	t.Helper()
	d, err := mem.New(mem.Options{Size: size, BlockSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newVolume(t *testing.T, size int64) *volume {
	t.Helper()
	v := &volume{Device: memory(t, size)}
	t.Cleanup(func() {
		v.wait.Wait()
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func (v *volume) Submit(r *block.Request) {
	now := v.now.Add(1)
	for m := v.most.Load(); now > m && !v.most.CompareAndSwap(m, now); m = v.most.Load() {
	}
	n := v.n.Add(1)
	if v.seen != nil {
		v.seen(r)
	}
	v.wait.Go(func() {
		if v.delay > 0 {
			<-time.After(v.delay)
		}
		v.now.Add(-1)
		if v.bad != nil {
			if skip, err := v.bad(n, r); skip {
				r.End(err)
				return
			}
		}
		v.Device.Submit(r)
	})
}

func base(v Volume) Config {
	return Config{sleep: func(d time.Duration) { <-time.After(d) }, Volumes: []Volume{v}, Pattern: RandRead, Mix: 50, Request: 4096, Depth: 4, Count: 1000, Seed: 1}
}

func mustRun(t *testing.T, cfg Config) *Result {
	t.Helper()
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPatterns(t *testing.T) {
	for _, p := range patterns {
		t.Run(string(p), func(t *testing.T) {
			v := newVolume(t, 1<<20)
			cfg := base(v)
			cfg.Pattern = p
			r := mustRun(t, cfg)
			if (r.Read != nil) != p.Reads() || (r.Write != nil) != p.Writes() || r.Errors != 0 || r.Interrupted {
				t.Errorf("%+v", r)
			}
			if got := v.n.Load(); got != 1000 {
				t.Errorf("%d requests", got)
			}
			if m := v.most.Load(); m > 4 {
				t.Errorf("%d at a time", m)
			}
			for _, d := range []*Direction{r.Read, r.Write} {
				if d != nil && (d.IOPS <= 0 || d.MB <= 0 || d.Latency.P50 <= 0 || d.Latency.Max < d.Latency.P999 || d.Latency.P999 < d.Latency.P99 || d.Latency.P99 < d.Latency.P50) {
					t.Errorf("%+v", d)
				}
			}
		})
	}
}

// Requests share a buffer where nothing is read into any, and nobody looks at
// what was written. A verifying run has others for reading back.
func TestBuffers(t *testing.T) {
	for _, c := range []struct {
		pattern Pattern
		verify  bool
		want    int
	}{{RandWrite, false, 1}, {Write, false, 1}, {Write, true, 16}, {RandRW, false, 8}, {Read, false, 8}} {
		v := newVolume(t, 1<<20)
		var mu sync.Mutex
		seen := map[*byte]bool{}
		v.seen = func(r *block.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen[&r.Bufs[0][0]] = true
		}
		cfg := base(v)
		cfg.Volumes, cfg.Pattern, cfg.Verify = []Volume{v, v}, c.pattern, c.verify
		if c.verify {
			cfg.Volumes, cfg.Depth = cfg.Volumes[:1], 8
		}
		if r := mustRun(t, cfg); r.Errors != 0 || len(seen) != c.want {
			t.Errorf("%s, verify %v: %d buffers, want %d; %d errors", c.pattern, c.verify, len(seen), c.want, r.Errors)
		}
	}
}

// Every offset is a whole request inside the area, and a sequential load goes
// through all of it.
func TestArea(t *testing.T) {
	for _, p := range []Pattern{Read, RandWrite} {
		v := newVolume(t, 1<<20)
		var mu sync.Mutex
		seen := map[int64]int{}
		v.seen = func(r *block.Request) {
			mu.Lock()
			defer mu.Unlock()
			if r.Off < 8192 || (r.Off-8192)%4096 != 0 || r.Off+r.Len > 8192+10*4096 || r.Len != 4096 {
				t.Errorf("%v at %d+%d", r.Op, r.Off, r.Len)
			}
			seen[r.Off]++
		}
		cfg := base(v)
		cfg.Volumes = []Volume{v, v}
		cfg.Pattern, cfg.Offset, cfg.Size = p, 8192, 10*4096+512
		mustRun(t, cfg)
		if len(seen) != 10 {
			t.Errorf("%s: %d places", p, len(seen))
		}
		for off, n := range seen {
			if p == Read && (n < 80 || n > 120) { // two sessions, not in step
				t.Errorf("offset %d: %d times", off, n)
			}
		}
	}
}

func TestMix(t *testing.T) {
	v := newVolume(t, 1<<20)
	var writes atomic.Int64
	v.seen = func(r *block.Request) {
		if r.Op == block.OpWrite {
			writes.Add(1)
			if r.Flags != block.FUA {
				t.Error("a write without FUA")
			}
		}
	}
	cfg := base(v)
	cfg.Pattern, cfg.Mix, cfg.FUA = RandRW, 80, true
	mustRun(t, cfg)
	if n := writes.Load(); n < 120 || n > 280 {
		t.Errorf("%d writes of 1000 with 80 %% reads", n)
	}
}

func TestConfigRefused(t *testing.T) {
	v := newVolume(t, 1<<20)
	for want, change := range map[string]func(*Config){
		"no pattern":            func(c *Config) { c.Pattern = "trim" },
		"percent":               func(c *Config) { c.Mix = 101 },
		"requests of 0":         func(c *Config) { c.Request = 0 },
		"not whole blocks":      func(c *Config) { c.Request = 1000 },
		"depth 0":               func(c *Config) { c.Depth = 0 },
		"is not at a block":     func(c *Config) { c.Offset = 100 },
		"past the end":          func(c *Config) { c.Offset = 1 << 20 },
		"reach past":            func(c *Config) { c.Size = 1<<20 + 512 },
		"never end":             func(c *Config) { c.Count = 0 },
		"requests per second":   func(c *Config) { c.Rate = -1 },
		"-1 errors":             func(c *Config) { c.MaxErrors = -1 },
		"use 10ms":              func(c *Config) { c.Interval = 1 },
		"more than 1000000":     func(c *Config) { c.Interval, c.Time = 10*time.Millisecond, 24*time.Hour },
		"holds no request":      func(c *Config) { c.Size, c.Request = 512, 1024 },
		"at least 400 requests": func(c *Config) { c.Verify, c.Depth = true, 200 },
		"0 sessions":            func(c *Config) { c.Volumes = nil },
		"of memory":             func(c *Config) { c.Depth, c.Request = MaxDepth, 2<<20; c.Volumes[0] = newVolume(t, 1<<30) },
		"different volumes":     func(c *Config) { c.Volumes = append(c.Volumes, newVolume(t, 2<<20)) },
		"after a ramp of -1ns":  func(c *Config) { c.Ramp = -1 },
		"a count of -1":         func(c *Config) { c.Count = -1 },
	} {
		cfg := base(v)
		change(&cfg)
		if _, err := Run(t.Context(), cfg); !errors.Is(err, san.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestVerify(t *testing.T) {
	for _, p := range []Pattern{Write, RandWrite, ReadWrite, RandRW} {
		t.Run(string(p), func(t *testing.T) {
			cfg := base(newVolume(t, 1<<20))
			cfg.Pattern, cfg.Verify = p, true
			r := mustRun(t, cfg)
			if r.Errors != 0 || r.Verify == nil || r.Verify.ReadBack == 0 || r.Verify.Miscompares != 0 || p == Write && r.Verify.ReadBack != 256 {
				t.Errorf("%+v, %+v", r, r.Verify)
			}
			// A later run of reads alone knows the blocks by themselves.
			cfg.Pattern, cfg.Count = Read, 256
			r = mustRun(t, cfg)
			if r.Errors != 0 || r.Verify.Checked != 256 || p == Write && r.Verify.Unknown != 0 {
				t.Errorf("%+v, %+v", r, r.Verify)
			}
		})
	}
}

// Every way to lose or damage a write is found.
func TestVerifyFinds(t *testing.T) {
	for name, bad := range map[string]func(n int64, r *block.Request) (bool, error){
		"lost": func(n int64, r *block.Request) (bool, error) { return r.Op == block.OpWrite && n == 300, nil },
		"torn": nil,
		"elsewhere": func(n int64, r *block.Request) (bool, error) {
			if r.Op == block.OpWrite && n == 300 {
				r.Off = (r.Off + 4096) % (1 << 20)
			}
			return false, nil
		},
		"damaged": func(n int64, r *block.Request) (bool, error) {
			if r.Op == block.OpWrite && n == 300 {
				r.Bufs[0][1000] ^= 1
			}
			return false, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVolume(t, 1<<20)
			if bad == nil {
				v.Device = &tearing{Device: v.Device}
			} else {
				v.bad = bad
			}
			cfg := base(v)
			cfg.Pattern, cfg.Verify, cfg.Count = Write, true, 400
			r := mustRun(t, cfg)
			if r.Verify.Miscompares == 0 || r.Errors == 0 || len(r.Messages) == 0 {
				t.Errorf("%+v, %+v", r, r.Verify)
			}
			t.Log(r.Messages)
		})
	}
}

// tearing stores half of its 300th write.
type tearing struct {
	block.Device
	n atomic.Int64
}

func (d *tearing) Submit(r *block.Request) {
	if d.n.Add(1) != 300 {
		d.Device.Submit(r)
		return
	}
	d.Device.Submit(&block.Request{Op: r.Op, Off: r.Off, Len: 2048, Bufs: [][]byte{r.Bufs[0][:2048]}, Done: func(*block.Request) { r.End(nil) }})
}

// An error ends the run; with more allowed it goes on.
func TestErrors(t *testing.T) {
	fail := func(n int64, r *block.Request) (bool, error) {
		if n%100 != 0 {
			return false, nil
		}
		return true, block.Fail(r, block.Medium, errors.New("scratched"))
	}
	v := newVolume(t, 1<<20)
	v.bad = fail
	r := mustRun(t, base(v))
	if r.Errors < 1 || r.Errors > 4 || r.Read.Errors != r.Errors || len(r.Messages) != int(r.Errors) || !strings.Contains(r.Messages[0], "scratched") || v.n.Load() == 1000 {
		t.Errorf("%+v after %d", r, v.n.Load())
	}
	v = newVolume(t, 1<<20)
	v.bad = fail
	cfg := base(v)
	cfg.MaxErrors = 100
	if r := mustRun(t, cfg); r.Errors != 10 || v.n.Load() != 1000 {
		t.Errorf("%+v after %d", r, v.n.Load())
	}
	// A write that failed may be there or not, and both are right.
	v = newVolume(t, 1<<20)
	v.bad = fail
	cfg.Volumes[0], cfg.Verify, cfg.Pattern = v, true, RandRW
	if r := mustRun(t, cfg); r.Verify.Miscompares != 0 || r.Errors == 0 {
		t.Errorf("%+v, %+v", r, r.Verify)
	}
}

func TestReadOnly(t *testing.T) {
	v := newVolume(t, 1<<20)
	cfg := base(readOnly{v})
	cfg.Pattern = Write
	if _, err := Run(t.Context(), cfg); !errors.Is(err, san.ErrRefused) {
		t.Error(err)
	}
}

type readOnly struct{ *volume }

func (v readOnly) Info() block.Info {
	i := v.volume.Info()
	i.Caps.ReadOnly = true
	return i
}

// Time, ramp, series and latency against a clock that does not lie.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVolume(t, 1<<20)
		v.delay = 10 * time.Millisecond
		var ticks int
		cfg := base(v)
		cfg.Count, cfg.Time, cfg.Ramp, cfg.Tick = 0, 10*time.Second, 5*time.Second, func(Sample) { ticks++ }
		began := time.Now()
		r := mustRun(t, cfg)
		if d := time.Since(began); d < 15*time.Second || d > 15*time.Second+20*time.Millisecond {
			t.Errorf("took %v", d)
		}
		// 4 slots of 100 requests a second each.
		if r.Read.IOPS < 399 || r.Read.IOPS > 401 || r.Read.Latency.P50 != 10000 || r.Read.Latency.Max != 10000 || r.Seconds < 10 || r.Seconds > 10.02 {
			t.Errorf("%+v", r.Read)
		}
		if len(r.Series) != 10 || ticks != 10 || r.Series[0].Read.IOPS < 395 || r.Series[0].Write != nil || r.Series[9].Second != 10 {
			t.Errorf("%+v", r.Series)
		}
	})
}

// A stall counts for every request that was due in it.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVolume(t, 1<<20)
		began := time.Now()
		v.bad = func(int64, *block.Request) (bool, error) {
			if d := time.Since(began); d >= time.Second && d < 2*time.Second {
				<-time.After(2*time.Second - d)
			}
			return false, nil
		}
		cfg := base(v)
		cfg.Count, cfg.Time, cfg.Rate = 0, 10*time.Second, 100
		r := mustRun(t, cfg)
		if r.Read.IOPS < 99 || r.Read.IOPS > 101 {
			t.Errorf("%+v", r.Read)
		}
		// A tenth of the requests were due in the stall of a second.
		if r.Read.Latency.P50 > 100 || r.Read.Latency.P99 < 850_000 || r.Read.Latency.Max < 990_000 {
			t.Errorf("%+v", r.Read.Latency)
		}
	})
}

// Ctrl-C leaves what was measured.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVolume(t, 1<<20)
		v.delay = 10 * time.Millisecond
		for _, rate := range []float64{0, 10} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			cfg := base(v)
			cfg.Count, cfg.Time, cfg.Rate = 0, time.Hour, rate
			r, err := Run(ctx, cfg)
			cancel()
			if err != nil || !r.Interrupted || r.Read.IOPS <= 0 || r.Seconds < 3 || r.Seconds > 3.1 || r.Errors != 0 {
				t.Errorf("%+v, %v", r, err)
			}
		}
	})
}

// A volume that answers no more does not hold up the end for ever.
func TestUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVolume(t, 1<<20)
		release := make(chan struct{})
		v.bad = func(n int64, _ *block.Request) (bool, error) {
			if n > 500 {
				<-release
			}
			return false, nil
		}
		cfg := base(v)
		cfg.Count, cfg.Time, cfg.Verify, cfg.Pattern = 0, time.Second, true, RandWrite
		r := mustRun(t, cfg)
		if r.Unanswered != 4 || r.Errors != 4 || r.Seconds < 61 || !strings.Contains(strings.Join(r.Messages, " "), "no answer") {
			t.Errorf("%+v", r)
		}
		close(release)
	})
}

// A volume that answers within Submit is served without recursion.
func TestSynchronousVolume(t *testing.T) {
	d := memory(t, 1<<20)
	defer d.Close()
	cfg := base(d)
	cfg.Count, cfg.Pattern = 100_000, RandRW
	r := mustRun(t, cfg)
	if r.Errors != 0 || r.Read == nil || r.Write == nil {
		t.Errorf("%+v", r)
	}
}

func TestNoAllocationPerRequest(t *testing.T) {
	d := memory(t, 1<<20)
	defer d.Close()
	cfg := base(d)
	cfg.Pattern, cfg.Verify, cfg.Depth, cfg.Interval = RandRW, true, 1, time.Hour
	run := func(n int64) float64 {
		cfg.Count = n
		return testing.AllocsPerRun(1, func() {
			if _, err := Run(t.Context(), cfg); err != nil {
				t.Error(err)
			}
		})
	}
	few, many := run(1000), run(101_000)
	if many-few > 1000 { // the runtime's own, over 100,000 requests
		t.Errorf("%v allocations for 1,000 requests, %v for 101,000", few, many)
	}
}

// The form of the result is a contract.
func TestResultJSON(t *testing.T) {
	b, err := json.Marshal(mustRun(t, base(newVolume(t, 1<<20))))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]map[string]any
	var whole map[string]any
	if err := json.Unmarshal(b, &whole); err != nil {
		t.Fatal(err)
	}
	for k := range whole {
		if k != "read" && k != "write" {
			delete(whole, k)
		}
	}
	b, _ = json.Marshal(whole)
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"iops", "mb_s", "lat_us", "errors", "cpu_s", "seconds"} {
		if _, ok := got["read"][k]; !ok {
			t.Errorf("no %s in %s", k, b)
		}
	}
	for _, k := range []string{"p50", "p99", "p999", "max"} {
		if m, _ := got["read"]["lat_us"].(map[string]any); m[k] == nil {
			t.Errorf("no lat_us.%s in %s", k, b)
		}
	}
	if _, ok := got["write"]; ok {
		t.Error("writes of a load that reads")
	}
}

// The ramp is not counted in what the single sessions did, and one session has
// no others to be compared with.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast, slow := newVolume(t, 1<<20), newVolume(t, 1<<20)
		fast.delay, slow.delay = time.Millisecond, 10*time.Millisecond
		cfg := base(fast)
		cfg.Volumes, cfg.Depth, cfg.Count, cfg.Time, cfg.Ramp = []Volume{slow, fast, fast}, 1, 0, time.Second, 5*time.Second
		r := mustRun(t, cfg)
		p := r.Spread
		if p == nil || p.Slowest < 90 || p.Slowest > 110 || p.Median < 900 || p.Fastest > 1100 {
			t.Errorf("%+v", p)
		}
		cfg.Volumes = cfg.Volumes[:1]
		if r := mustRun(t, cfg); r.Spread != nil {
			t.Errorf("%+v of one session", r.Spread)
		}
	})
}
