// Command upgrade replaces the program of three gateways one after the other, under a load that is verified: by one that
// speaks a later version of the protocol between gateways and knows a later layout of the metadata, back to the older
// one in the middle, and on. Gateways of both work together meanwhile, and the host must see no error. Once all know the
// later layout the metadata has it, and the older program is refused.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sango/test/harness"
)

const (
	target  = "iqn.2026-11.example:upgrade"
	relayed = 1 // the LUN of the volume that is used through each gateway alone
)

func main() {
	sango := flag.String("sango", "bin/sango", "the sango `program`")
	harness.Main("upgrade", func(ctx context.Context) error { return run(ctx, *sango) })
}

// test is a cluster that is upgraded.
type test struct {
	*harness.Cluster
	older, newer string   // programs
	runs         []string // which each gateway runs
	load         *load
	made         int // volumes that were made on the way
}

func run(ctx context.Context, sango string) (err error) {
	dir, err := os.MkdirTemp("", "upgrade")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t := &test{older: filepath.Join(dir, "older"), newer: filepath.Join(dir, "newer")}
	if sango, err = filepath.Abs(sango); err != nil {
		return err
	}
	if err := os.Symlink(sango, t.older); err != nil {
		return err
	}
	if _, err := harness.Run(ctx, 10*time.Minute, "go", "build", "-tags", "nextversion", "-ldflags", "-X main.version=newer", "-o", t.newer, "./cmd/sango"); err != nil {
		return err
	}
	t.runs = []string{t.older, t.older, t.older}
	if t.Cluster, err = harness.StartCluster(ctx, harness.ClusterOptions{Binary: t.older, Dir: dir, Gateways: len(t.runs)}); err != nil {
		return err
	}
	defer t.Close()
	for _, args := range [][]string{
		{"target", "create", target, "--open"},
		{"volume", "create", "load", "--size", "64M"},
		{"target", "map", target, "load", "--lun", "0"},
		{"volume", "create", "relayed", "--size", "64M"},
		{"target", "map", target, "relayed", "--lun", fmt.Sprint(relayed)},
	} {
		if _, err := t.Run(ctx, 0, args...); err != nil {
			return err
		}
	}
	if err := t.AwaitWhole(ctx); err != nil {
		return err
	}
	if t.load, err = startLoad(ctx, t.Portals); err != nil {
		return err
	}
	err = t.steps(ctx)
	if err = errors.Join(err, t.load.end(err == nil)); err != nil {
		return fmt.Errorf("%w\n%s", err, t.Output())
	}
	return nil
}

func (t *test) steps(ctx context.Context) error {
	s, err := t.Status(ctx, 0)
	if err != nil {
		return err
	}
	first := int(s.GetLayout().GetVersion())
	for _, s := range []struct {
		name    string
		gateway int
		binary  string
		later   bool // the metadata has the later layout then
	}{
		{"the first gateway is upgraded", 0, t.newer, false},
		{"the second", 1, t.newer, false},
		{"the second is set back to the older version", 1, t.older, false},
		{"and upgraded again", 1, t.newer, false},
		{"the third", 2, t.newer, true},
	} {
		if err := t.replace(ctx, s.gateway, s.binary); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		want := first
		if s.later {
			want++
		}
		if err := errors.Join(t.together(ctx, want), t.agreed(s.gateway)); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		done, longest := t.load.since()
		fmt.Printf("ok   %s: %d reads and writes, the longest took %v\n", s.name, done, longest.Round(time.Millisecond))
	}
	if err := t.tooOld(ctx); err != nil {
		return fmt.Errorf("the older version, after the upgrade: %w", err)
	}
	fmt.Println("ok   the older version is refused after the upgrade")
	return t.load.failed()
}

// replace does what docs/cluster.md says of an upgrade.
func (t *test) replace(ctx context.Context, i int, binary string) error {
	by := (i + 1) % len(t.runs)
	if _, err := t.Run(ctx, by, "gateway", "drain", t.Name(i)); err != nil {
		return err
	}
	if err := t.End(ctx, i); err != nil {
		return err
	}
	t.Use(i, binary)
	t.runs[i] = binary
	if err := t.Start(i); err != nil {
		return err
	}
	if _, err := t.Run(ctx, by, "gateway", "undrain", t.Name(i)); err != nil {
		return err
	}
	return t.AwaitWhole(ctx)
}

// agreed looks whether the links of gateway i, which was started last, speak what both of their sides do.
func (t *test) agreed(i int) error {
	said := t.Said(i)
	for j, runs := range t.runs {
		want := 1
		if runs == t.newer && t.runs[i] == t.newer {
			want = 2
		}
		at := strings.LastIndex(said, fmt.Sprintf("a link to a gateway is up\" peer=%s.", t.Name(j)))
		if line, _, _ := strings.Cut(said[max(at, 0):], "\n"); j != i && (at < 0 || !strings.HasSuffix(line, fmt.Sprintf(" version=%d", want))) {
			return fmt.Errorf("the link of %s to %s: %q, want version %d", t.Name(i), t.Name(j), line, want)
		}
	}
	return nil
}

// together looks whether the gateways serve together as they are: what one changes is in effect on all, and each passes
// commands on to each.
func (t *test) together(ctx context.Context, layout int) error {
	if err := harness.Await(ctx, time.Minute, "what the gateways tell", func() error { return t.told(ctx, layout) }); err != nil {
		return err
	}
	for i := range t.runs {
		t.made++
		name := fmt.Sprint("made", t.made)
		if _, err := t.Run(ctx, i, "volume", "create", name, "--size", "1M"); err != nil {
			return err
		}
		for j := range t.runs {
			if err := harness.Await(ctx, time.Minute, name+", which "+t.Name(i)+" made", func() error { return t.follows(ctx, j, name) }); err != nil {
				return err
			}
		}
	}
	for i := range t.runs {
		if err := harness.Await(ctx, time.Minute, "a move", func() error { return t.Move(ctx, "relayed", i) }); err != nil {
			return err
		}
		for _, p := range t.Portals {
			if _, err := harness.Run(ctx, time.Minute, t.older, "bench", fmt.Sprintf("iscsi://%s/%s/%d", p, target, relayed),
				"--rw", "randrw", "--bs", "4k", "--depth", "8", "--size", "4M", "--time", "500ms", "--verify", "--destroy"); err != nil {
				return fmt.Errorf("through %s, owner %s: %w", p, t.Name(i), err)
			}
		}
	}
	return t.load.failed()
}

// told looks at what the status tells of versions.
func (t *test) told(ctx context.Context, layout int) error {
	s, err := t.Status(ctx, 0)
	if err != nil {
		return err
	}
	if is := int(s.GetLayout().GetVersion()); is != layout {
		return fmt.Errorf("the metadata has layout %d, want %d", is, layout)
	}
	var old []string
	for i, g := range s.GetGateways() {
		if newer := t.runs[i] == t.newer; newer != (g.GetVersion() == "newer") {
			return fmt.Errorf("gateway %s says that it runs version %s", g.GetName(), g.GetVersion())
		} else if !newer {
			old = append(old, g.GetName())
		}
	}
	if len(old) == len(t.runs) {
		old = nil // nobody knows another one
	}
	if waits := s.GetLayout().GetWaitsFor(); !slices.Equal(waits, old) {
		return fmt.Errorf("the metadata waits for %v, want %v", waits, old)
	}
	return nil
}

// follows looks whether a volume is known to gateway i, which is well.
func (t *test) follows(ctx context.Context, i int, volume string) error {
	out, err := t.Run(ctx, i, "volume", "list")
	if err != nil || !strings.Contains(out, volume+" ") {
		return fmt.Errorf("it is not on %s: %w\n%s", t.Name(i), err, out)
	}
	if out, err = t.Run(ctx, i, "status"); err != nil || strings.Contains(out, "PROBLEM") {
		return fmt.Errorf("%s: %w\n%s", t.Name(i), err, out)
	}
	return nil
}

// tooOld has a gateway go back when the metadata has the later layout: it must not start, and say why.
func (t *test) tooOld(ctx context.Context) error {
	if err := t.End(ctx, 0); err != nil {
		return err
	}
	out, err := harness.Run(ctx, time.Minute, t.older, "gateway", "run", "--config", t.Config(0))
	if err == nil || !strings.Contains(out, "schema version") || !strings.Contains(out, "use the newer sango") {
		return fmt.Errorf("it says nothing of the metadata: %w\n%s", err, out)
	}
	if err := t.Start(0); err != nil {
		return err
	}
	return t.AwaitWhole(ctx)
}
