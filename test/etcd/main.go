// Command etcd runs a gateway whose metadata is in a cluster of three etcd servers as others run them: processes of
// etcd's own program, built from the version that Sango embeds, with TLS and users. Their leader is killed again and
// again while the gateway works.
package main

import (
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
		{"a gateway serves", t.serve},
		{"a second one is refused", t.second},
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

// test is a gateway on etcd.
type test struct {
	e          *etcds
	sango, dir string
	gateway    *exec.Cmd
	made       int // volumes
}

// config writes the configuration of a gateway.
func (t *test) config(name, password string) (string, error) {
	secret, path := filepath.Join(t.dir, name+".password"), filepath.Join(t.dir, name+".yaml")
	text := fmt.Sprintf("name: %s\ndir: %s\nlog: error\nportals: [{name: a, listen: \"127.0.0.1:0\"}]\netcd: {endpoints: [%q, %q, %q], ca: %s, user: sango, password_file: %s}\n",
		name, filepath.Join(t.dir, name), t.e.client[0], t.e.client[1], t.e.client[2], t.e.path("cert.pem"), secret)
	return path, errors.Join(os.WriteFile(secret, []byte(password+"\n"), 0o600), os.WriteFile(path, []byte(text), 0o600))
}

// refused runs a gateway that must not start, and wants the exit status and words of its error.
func (t *test) refused(ctx context.Context, name, password string, status int, words string) error {
	path, err := t.config(name, password)
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
	path, err := t.config("small", password)
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
	return t.refused(ctx, "gw1", "wrong", 4, "check user, password")
}

func (t *test) serve(ctx context.Context) error {
	path, err := t.config("gw1", password)
	if err != nil {
		return err
	}
	t.gateway = exec.Command(t.sango, "gateway", "run", "--config", path)
	t.gateway.Stderr = os.Stderr
	if err := t.gateway.Start(); err != nil {
		return err
	}
	return await(ctx, "the gateway does not serve", func() error {
		_, err := os.Stat(filepath.Join(t.dir, "gw1", "api.sock"))
		return err
	})
}

// stop ends the gateway, if it runs.
func (t *test) stop() {
	if t.gateway != nil {
		_ = t.gateway.Process.Signal(syscall.SIGTERM)
		_ = t.gateway.Wait()
		t.gateway = nil
	}
}

func (t *test) second(ctx context.Context) error {
	return t.refused(ctx, "gw2", password, 4, "served by gateway gw1")
}

// command runs a command on the gateway.
func (t *test) command(ctx context.Context, args ...string) (string, error) {
	return harness.Run(ctx, time.Minute, t.sango, append(args, "--dir", filepath.Join(t.dir, "gw1"))...)
}

// create makes the next volume.
func (t *test) create(ctx context.Context) error {
	_, err := t.command(ctx, "volume", "create", fmt.Sprintf("v%d", t.made), "--size", "1M")
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
		if err := await(ctx, "the member that was killed does not come back", func() error { return t.e.authenticate(ctx, lead) }); err != nil {
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
	return await(ctx, "it does not go on", func() error { return t.all(ctx) })
}
