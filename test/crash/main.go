// Command crash kills a loaded sango demo with SIGKILL, again and again, and looks each time whether all that it had
// acknowledged is still there: on a plain volume, on one whose snapshots come and go under the load, and on one with
// 4096-byte blocks; and whether a persistent reservation with APTPL is in force again. Commands that were in flight may
// have landed or not, page by page. Snapshots must hold what was there when they were taken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"time"

	"sango/internal/scsi/pr"
	"sango/test/harness"
)

func main() {
	var t crashTest
	flag.StringVar(&t.sango, "sango", "bin/sango", "the sango `program`")
	flag.IntVar(&t.rounds, "rounds", 50, "how many times it is killed")
	flag.IntVar(&t.writers, "writers", 4, "connections to each volume")
	flag.Uint64Var(&t.seed, "seed", rand.Uint64(), "of the random choices")
	harness.Main("crash", func(ctx context.Context) error {
		if err := t.run(ctx, os.Stdout); err != nil {
			return fmt.Errorf("%w\nseed %d", err, t.seed)
		}
		return nil
	})
}

const volumeSize = 64 << 20

type crashTest struct {
	sango   string
	rounds  int
	writers int
	seed    uint64

	rnd      *rand.Rand
	demo     *harness.Demo
	volumes  []*volume
	snap     *model   // what the snapshot "kept" of the volume with snapshots holds
	old      []string // snapshots to give up, oldest first
	versions uint64
	commands int64
}

// The volume with snapshots, and the LUN at which a clone of a snapshot is looked at.
const (
	withSnaps = 1
	cloneLUN  = 9
)

func (t *crashTest) run(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "crash")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		} else {
			err = fmt.Errorf("%w\nthe directory is kept: %s", err, dir)
		}
	}()
	t.rnd = rand.New(rand.NewPCG(t.seed, 0))
	t.volumes = []*volume{
		{name: "plain", lun: 0, block: 512, model: newModel(1, volumeSize)},
		{name: "snaps", lun: 1, block: 512, model: newModel(2, volumeSize)},
		{name: "large", lun: 2, block: 4096, model: newModel(3, volumeSize)},
	}
	var args []string
	for _, v := range t.volumes {
		args = append(args, fmt.Sprintf("%s=%d,block=%d", v.name, volumeSize, v.block))
	}
	args = append(args, reservedName+"=1M")
	t.demo, err = harness.StartDemo(ctx, harness.DemoOptions{Binary: t.sango, Dir: dir, Volumes: args})
	if err != nil {
		return err
	}
	defer func() { t.demo.Kill() }()
	start := time.Now()
	for round := 1; round <= t.rounds; round++ {
		if err := t.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if round%10 == 0 || round == t.rounds {
			fmt.Fprintf(w, "%d rounds, %d commands acknowledged, nothing lost (%.0f s)\n", round, t.commands, time.Since(start).Seconds())
		}
	}
	if err := t.demo.Stop(); err != nil {
		return err
	}
	if out, err := t.cli(ctx, "volume", "check"); err != nil {
		return fmt.Errorf("offline check: %w\n%s", err, out)
	}
	return nil
}

func (t *crashTest) cli(ctx context.Context, args ...string) (string, error) {
	return harness.Run(ctx, 2*time.Minute, t.sango, append(args, "--dir", t.demo.Dir())...)
}

// round puts load on the demo, kills it in the middle, starts it again and verifies everything.
func (t *crashTest) round(ctx context.Context, round int) error {
	snapshots := t.volumes[withSnaps]
	// The snapshot whose content is known is taken while nothing is written; older ones are given up under load, so that
	// a merge is often what the kill interrupts.
	kept := "kept" + strconv.Itoa(round)
	if _, err := t.cli(ctx, "volume", "snapshot", snapshots.name, kept); err != nil {
		return err
	}
	t.snap = snapshots.model.clone()
	t.old = append(t.old, kept)

	key := pr.Key(round)
	if err := takeReservation(t.demo.Ready.Portals[0], t.demo.Ready.Target, key); err != nil {
		return err
	}
	l := &load{enough: make(chan struct{}), until: int64(100 + t.rnd.IntN(2000))}
	l.versions.Store(t.versions)
	for i, v := range t.volumes {
		if err := l.start(t.seed+uint64(round), t.demo.Ready.Portals, t.demo.Ready.Target, v, t.writers, byte(1+i*t.writers)); err != nil {
			l.fail(err)
			break
		}
	}
	// Snapshots come and go meanwhile, as far as they get.
	busy, stop := context.WithCancel(ctx)
	changed := make(chan error, 1)
	go func() { changed <- t.changeSnapshots(busy, &l.killed, round) }()
	select {
	case <-l.enough:
	case <-ctx.Done():
	}
	l.killed.Store(true)
	t.demo.Kill()
	stop()
	changes := <-changed
	if err := errors.Join(l.wait(), ctx.Err()); err != nil {
		return fmt.Errorf("%w\n%s", err, t.demo.Output())
	}
	t.versions = l.versions.Load()
	t.commands += l.acked.Load()

	d, err := t.demo.Restart(ctx)
	if err != nil {
		return err
	}
	t.demo = d
	if err := verifyReservation(d.Ready.Portals[0], d.Ready.Target, key); err != nil {
		return fmt.Errorf("the reservation with APTPL: %w", err)
	}
	for _, v := range t.volumes {
		if err := verify(d.Ready.Portals[0], d.Ready.Target, v.lun, v.block, v.model); err != nil {
			return fmt.Errorf("volume %s: %w", v.name, err)
		}
	}
	if changes != nil {
		return changes
	}
	return t.verifySnapshot(ctx, kept)
}

// changeSnapshots gives up old snapshots and takes one under load. Being interrupted by the kill is what it is for; a
// refusal is not.
func (t *crashTest) changeSnapshots(ctx context.Context, killed *atomic.Bool, round int) error {
	name := t.volumes[withSnaps].name
	for len(t.old) > 3 {
		// Whether it was done is not known after a kill: then it is given up again, and may be gone.
		if out, err := t.cli(ctx, "volume", "delete", name+"@"+t.old[0]); err != nil && !notFound(err) {
			if killed.Load() {
				return nil
			}
			return fmt.Errorf("%w\n%s", err, out)
		}
		t.old = t.old[1:]
	}
	busy := "busy" + strconv.Itoa(round)
	t.old = append(t.old, busy)
	if out, err := t.cli(ctx, "volume", "snapshot", name, busy); err != nil && !killed.Load() {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// notFound reports whether a command ended with the status that says so.
func notFound(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 3
}

// verifySnapshot looks at a snapshot through a clone.
func (t *crashTest) verifySnapshot(ctx context.Context, snapshot string) error {
	source := t.volumes[withSnaps]
	target := t.demo.Ready.Target
	for _, args := range [][]string{
		{"volume", "clone", source.name + "@" + snapshot, "look"},
		{"target", "map", target, "look", "--lun", strconv.Itoa(cloneLUN)},
	} {
		if _, err := t.cli(ctx, args...); err != nil {
			return err
		}
	}
	if err := verify(t.demo.Ready.Portals[1], target, cloneLUN, source.block, t.snap); err != nil {
		return fmt.Errorf("snapshot %s: %w", snapshot, err)
	}
	for _, args := range [][]string{
		{"target", "unmap", target, strconv.Itoa(cloneLUN)},
		{"volume", "delete", "look"},
	} {
		if _, err := t.cli(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}
