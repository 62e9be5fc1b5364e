// Command etcd runs three gateways whose metadata is in a cluster of three etcd servers as others run them: processes
// of etcd's own program, built from the version that Sango embeds, with TLS and users. Their leader is killed again and
// again while the gateways serve a host.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sango/test/harness"
)

const password = "a password of etcd"

// gateways is how many of them serve together.
const gateways = 3

const iqn = "iqn.2026-11.io.sango:etcd"

func main() {
	sango := flag.String("sango", "bin/sango", "the sango `program`")
	rounds := flag.Int("rounds", 3, "how often the leader is killed")
	harness.Main("etcd", func(ctx context.Context) error { return run(ctx, *sango, *rounds) })
}

func run(ctx context.Context, sango string, rounds int) (err error) {
	if sango, err = filepath.Abs(sango); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sango-etcd")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary := filepath.Join(dir, "etcd")
	if _, err := harness.Run(ctx, 10*time.Minute, "go", "build", "-o", binary, "go.etcd.io/etcd/server/v3"); err != nil {
		return err
	}
	e, err := newEtcds(dir, binary)
	if err != nil {
		return err
	}
	defer e.killAll()
	t := &test{e: e, sango: sango, dir: dir}
	defer t.stop()
	for _, s := range []struct {
		name string
		f    func(context.Context) error
	}{
		{"an etcd with its own limits is refused", t.tooSmall},
		{"a wrong password is refused", t.wrongPassword},
		{"three gateways serve together", t.together},
		{"one with other volumes is refused", t.foreign},
		{"etcd's servers are seen", t.members},
		{fmt.Sprintf("the leader is killed %d times", rounds), func(ctx context.Context) error { return t.killLeaders(ctx, rounds) }},
		{"a backup is taken and put back", t.backup},
		{"without a majority changes fail, and nothing is lost", t.noMajority},
	} {
		if err := s.f(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Println("ok  ", s.name)
	}
	return nil
}

// test is gateways on etcd.
type test struct {
	e          *etcds
	sango, dir string
	portals    []string // of the gateways, ip:port
	gateways   []*exec.Cmd
	made       int // volumes
}

func name(i int) string { return fmt.Sprintf("gw%d", i+1) }

// config writes the configuration of a gateway.
func (t *test) config(name, portal, volumes, password string) (string, error) {
	secret, path := filepath.Join(t.dir, name+".password"), filepath.Join(t.dir, name+".yaml")
	text := fmt.Sprintf("name: %s\ndir: %s\nlog: error\nvolumes: %s\nportals: [{name: a, listen: %q}]\netcd: {endpoints: [%q, %q, %q], ca: %s, user: sango, password_file: %s}\n",
		name, filepath.Join(t.dir, name), filepath.Join(t.dir, volumes), portal, t.e.client[0], t.e.client[1], t.e.client[2], t.e.path("cert.pem"), secret)
	return path, errors.Join(os.WriteFile(secret, []byte(password+"\n"), 0o600), os.WriteFile(path, []byte(text), 0o600))
}

// refused runs a gateway that must not start, and wants the exit status and words of its error.
func (t *test) refused(ctx context.Context, name, volumes, password string, status int, words string) error {
	path, err := t.config(name, "127.0.0.1:0", volumes, password)
	if err != nil {
		return err
	}
	out, err := harness.Run(ctx, time.Minute, t.sango, "gateway", "run", "--config", path)
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || exit.ExitCode() != status || !strings.Contains(out, words) {
		return fmt.Errorf("want exit status %d and %q: %w", status, words, err)
	}
	return nil
}

func (t *test) tooSmall(ctx context.Context) error {
	for i := range t.e.procs {
		if err := t.e.start(i); err != nil {
			return err
		}
	}
	if _, err := t.e.leader(ctx); err != nil {
		return err
	}
	path, err := t.config("small", "127.0.0.1:0", "small", password)
	if err != nil {
		return err
	}
	// It asks nobody for a password yet, and takes none.
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, _, _ := strings.Cut(string(b), ", user:")
	if err := os.WriteFile(path, []byte(head+"}\n"), 0o600); err != nil {
		return err
	}
	out, err := harness.Run(ctx, time.Minute, t.sango, "gateway", "run", "--config", path)
	if err == nil || !strings.Contains(out, "--max-txn-ops=4096") {
		return fmt.Errorf("it says nothing of --max-txn-ops: %w", err)
	}
	t.e.killAll()
	for i := range t.e.procs {
		if err := t.e.start(i, roomy...); err != nil {
			return err
		}
	}
	if _, err := t.e.leader(ctx); err != nil {
		return err
	}
	return t.e.users(ctx, password)
}

func (t *test) wrongPassword(ctx context.Context) error {
	return t.refused(ctx, name(0), "volumes", "wrong", 4, "check user, password")
}

// serve starts the gateways, and waits until all of them take part.
func (t *test) serve(ctx context.Context) error {
	for i := range gateways {
		if len(t.portals) == i {
			t.portals = append(t.portals, freeAddr())
		}
		path, err := t.config(name(i), t.portals[i], "volumes", password)
		if err != nil {
			return err
		}
		g := exec.Command(t.sango, "gateway", "run", "--config", path)
		g.Stderr = os.Stderr
		if err := g.Start(); err != nil {
			return err
		}
		t.gateways = append(t.gateways, g)
	}
	return harness.Await(ctx, time.Minute, "the gateways do not serve together", func() error {
		out, err := t.command(ctx, "gateway", "list")
		if err == nil && strings.Count(out, " serving ") != gateways {
			err = fmt.Errorf("they are\n%s", out)
		}
		return err
	})
}

func (t *test) together(ctx context.Context) error {
	if err := t.serve(ctx); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"volume", "create", "db", "--size", "16M"}, {"target", "create", iqn, "--open"}, {"target", "map", iqn, "db"},
	} {
		if _, err := t.command(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the gateways that run.
func (t *test) stop() {
	for _, g := range t.gateways {
		_ = g.Process.Signal(syscall.SIGTERM)
	}
	for _, g := range t.gateways {
		_ = g.Wait()
	}
	t.gateways = nil
}

func (t *test) foreign(ctx context.Context) error {
	if err := t.refused(ctx, "gw9", "others", password, 4, "share the directory of volumes with the identity"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(t.dir, "others")); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("it has made a directory of volumes: %w", err)
	}
	out, err := t.command(ctx, "gateway", "list")
	if err == nil && strings.Contains(out, "gw9") {
		err = fmt.Errorf("it is registered:\n%s", out)
	}
	return err
}

// members wants all servers of etcd to be seen, though they reach each other where
// a gateway does not look.
func (t *test) members(ctx context.Context) error {
	out, err := t.command(ctx, "cluster", "members")
	if err == nil && (strings.Count(out, " follower ") != 2 || strings.Count(out, " leader ") != 1) {
		err = fmt.Errorf("they are\n%s", out)
	}
	return err
}

// command runs a command on a gateway.
func (t *test) command(ctx context.Context, args ...string) (string, error) {
	return t.commandAt(ctx, 0, args...)
}

func (t *test) commandAt(ctx context.Context, i int, args ...string) (string, error) {
	return harness.Run(ctx, time.Minute, t.sango, append(args, "--dir", filepath.Join(t.dir, name(i)))...)
}

// create makes the next volume.
func (t *test) create(ctx context.Context) error {
	_, err := t.commandAt(ctx, t.made%gateways, "volume", "create", fmt.Sprintf("v%d", t.made), "--size", "1M")
	if err == nil {
		t.made++
	}
	return err
}

// all wants every volume that was made.
func (t *test) all(ctx context.Context) error {
	out, err := t.command(ctx, "volume", "list")
	if err != nil {
		return err
	}
	for i := range t.made {
		if !slices.ContainsFunc(strings.Split(out, "\n"), func(l string) bool { return strings.HasPrefix(l, fmt.Sprintf("v%d ", i)) }) {
			return fmt.Errorf("volume v%d is lost:\n%s", i, out)
		}
	}
	return nil
}

func (t *test) killLeaders(ctx context.Context, rounds int) error {
	end, err := t.load()
	if err != nil {
		return err
	}
	return errors.Join(t.killUnderLoad(ctx, rounds), end())
}

// load has a host write through all gateways and read again what it wrote, until
// end is called, which tells whether anything was wrong.
func (t *test) load() (end func() error, err error) {
	var urls []string
	for _, p := range t.portals {
		urls = append(urls, "iscsi://"+p+"/"+iqn+"/0")
	}
	var said bytes.Buffer
	host := exec.Command(t.sango, "bench", strings.Join(urls, ","), "--destroy", "--rw", "randrw", "--verify", "--size", "8M", "--depth", "8", "--rate", "200", "--time", "1h", "-o", "json")
	host.Stdout, host.Stderr = &said, &said
	if err := host.Start(); err != nil {
		return nil, err
	}
	return func() error {
		_ = host.Process.Signal(syscall.SIGINT)
		if err := host.Wait(); err != nil {
			return fmt.Errorf("the host: %w: %s", err, &said)
		}
		return nil
	}, nil
}

func (t *test) killUnderLoad(ctx context.Context, rounds int) error {
	for range rounds {
		if err := t.create(ctx); err != nil {
			return err
		}
		if err := t.e.authenticate(ctx, 0); err != nil {
			return err
		}
		lead, err := t.e.leader(ctx)
		if err != nil {
			return err
		}
		killed := time.Now()
		t.e.kill(lead)
		if err := t.create(ctx); err != nil {
			return err
		}
		fmt.Printf("     a volume was made %v after the leader was killed\n", time.Since(killed).Round(time.Millisecond))
		if err := t.e.start(lead, roomy...); err != nil {
			return err
		}
		if err := harness.Await(ctx, time.Minute, "the member that was killed does not come back", func() error { return t.e.authenticate(ctx, lead) }); err != nil {
			return err
		}
	}
	return t.all(ctx)
}

func (t *test) backup(ctx context.Context) error {
	file := filepath.Join(t.dir, "backup")
	if _, err := t.command(ctx, "cluster", "backup", file); err != nil {
		return err
	}
	t.stop()
	if _, err := t.command(ctx, "cluster", "restore", file, "--replace"); err != nil {
		return err
	}
	if err := t.serve(ctx); err != nil {
		return err
	}
	return t.all(ctx)
}

func (t *test) noMajority(ctx context.Context) error {
	t.e.kill(0)
	t.e.kill(1)
	out, err := t.command(ctx, "volume", "create", "never", "--size", "1M")
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) || exit.ExitCode() != 5 && exit.ExitCode() != 1 || !strings.Contains(out, "metadata") {
		return fmt.Errorf("want exit status 5, or 1 where the outcome is unknown: %w", err)
	}
	for i := range 2 {
		if err := t.e.start(i, roomy...); err != nil {
			return err
		}
	}
	return harness.Await(ctx, time.Minute, "it does not go on", func() error { return t.all(ctx) })
}
