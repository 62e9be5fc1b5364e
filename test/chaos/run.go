package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sango/test/chaos/history"
	"sango/test/chaos/world"
)

// hangs is how long requests may take when nothing disturbs them any more.
// Paths that were cut may need a login, and logins are tried again after up to
// 5 s; machines are slow.
const hangs = 2 * time.Minute

// command is how to repeat the run.
func (o *options) command() string {
	c := fmt.Sprintf("make chaos SEED=%d MINUTES=%v", o.seed, o.minutes)
	var args []string
	t := o.topology
	if o.recipe == "" && o.defects == "" && (t.gateways != 3 || t.etcds != 3) {
		args = append(args, fmt.Sprintf("-gateways %d -etcds %d", t.gateways, t.etcds))
	}
	if o.moves > 0 {
		args = append(args, fmt.Sprintf("-moves %v", o.moves))
	}
	for name, v := range map[string]string{"faults": o.only, "extra": o.extra, "sabotage": o.sabotage, "recipe": o.recipe, "defects": o.defects} {
		if v != "" {
			args = append(args, fmt.Sprintf("-%s '%s'", name, v))
		}
	}
	if len(args) > 0 {
		c += fmt.Sprintf(" ARGS=%q", strings.Join(args, " "))
	}
	return c
}

// inside is a run, in its cell.
func (o *options) inside(ctx context.Context, c *recipe, plan []fault, length time.Duration) (err error) {
	dir, err := world.EnterCell()
	if err != nil {
		return err
	}
	kept := filepath.Join(o.dir, fmt.Sprint(o.seed))
	if err := os.RemoveAll(kept); err != nil {
		return err
	}
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return err
	}
	if kept, err = filepath.Abs(kept); err != nil {
		return err
	}
	fmt.Printf("seed %d, %d faults in %v; repeat with: %s\n", o.seed, len(plan), length, o.command())
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%8.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}

	if c == nil {
		if err := zeroOnFullDisk(ctx, dir); err != nil {
			return err
		}
	}
	volumes := newVolumes()
	header := history.Header{Seed: o.seed, Command: o.command(), Blocks: map[string]int{}}
	for _, v := range volumes {
		header.Blocks[v.name] = v.block
	}
	s := &site{topology: o.topology, dir: dir, logs: kept, etcd: filepath.Join(dir, "etcd")}
	if s.sango, err = filepath.Abs(o.sango); err != nil {
		return err
	}
	if c != nil {
		s.extra = c.extra
	}
	if o.extra != "" {
		b, err := os.ReadFile(o.extra)
		if err != nil {
			return err
		}
		s.extra = string(b)
	}
	rec, err := history.NewRecorder(filepath.Join(kept, "history"), header)
	if err != nil {
		return err
	}
	defer func() {
		if s.fabric != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.build(ctx); err != nil {
		return err
	}
	if err := s.start(ctx, volumes); err != nil {
		return err
	}
	ends, end := context.WithCancel(context.Background())
	defer end()
	l := &load{site: s, rec: rec, volumes: volumes, seed: o.seed, pause: o.pause, timeout: hostTimeout, ends: ends}
	if o.sabotage == "impatient" {
		l.timeout = impatience
	}
	if c != nil {
		l.ping = c.ping
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	n := &nemesis{site: s, rec: rec, load: l, say: say}
	if o.sabotage == "rot" {
		n.ruin = l.rot
	}
	say("everything serves")
	runErr := o.faults(ctx, l, n, plan, length)
	say("the faults are over: %d commands", rec.Ops())
	if err = l.wait(hangs); err != nil {
		for _, g := range s.gateways {
			err = errors.Join(err, g.process().Dump())
		}
	}
	err = errors.Join(runErr, err)
	if err == nil {
		reader := time.AfterFunc(hangs, end)
		err = l.verify()
		reader.Stop()
	}
	end()
	if err == nil {
		l.close()
		err = errors.Join(s.stop(true), o.offline(ctx, s))
	}
	err = errors.Join(err, l.failed(), s.health())
	h, closeErr := rec.Close()
	if err = errors.Join(err, closeErr); err != nil {
		fmt.Printf("FAIL: %v\n", err)
	}
	for _, m := range l.longest {
		fmt.Printf("longest of %s: %.1f s\n", m.Host, time.Duration(m.Return-m.Call).Seconds())
	}
	say("checking")
	return errors.Join(err, judge(h, kept))
}

// faults lets everything work while the plan is played.
func (o *options) faults(ctx context.Context, l *load, n *nemesis, plan []fault, length time.Duration) error {
	work, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	l.start(work)
	m := &moves{site: l.site, every: o.moves, seed: o.seed}
	if o.moves > 0 {
		m.start(work, l.volumes)
	}
	err := n.play(work, plan)
	<-work.Done()
	if o.moves > 0 {
		err = errors.Join(err, m.end(n.say))
	}
	return err
}

// offline checks what the gateways left on their disks.
func (o *options) offline(ctx context.Context, s *site) error {
	if s.topology.gateways > 1 || s.topology.etcds > 0 {
		return nil // the metadata is elsewhere
	}
	_, err := s.command(ctx, 0, "volume", "check")
	return err
}

// judge checks a history and tells what was found.
func judge(h *history.History, kept string) error {
	r := history.Check(h, isReserved)
	fmt.Printf("%v\n", &r)
	if len(r.Findings) == 0 {
		return nil
	}
	var text strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintln(&text, f.Story)
	}
	path := filepath.Join(kept, "story")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		return err
	}
	fmt.Printf("\n%s\nseed %d; history, logs and %d stories are in %s; repeat with: %s\n", r.Findings[0].Story, h.Seed, len(r.Findings), kept, h.Command)
	return fmt.Errorf("%d blocks or reservations were not correct", len(r.Findings))
}
