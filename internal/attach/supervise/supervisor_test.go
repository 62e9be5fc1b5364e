package supervise

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a process of a test.
type fake struct {
	name string
	pid  int
	once sync.Once
	done chan struct{}
	err  error
	deaf bool // Terminate does nothing
}

func (f *fake) PID() int              { return f.pid }
func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Err() error            { return f.err }

func (f *fake) die(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.done)
	})
}

func (f *fake) Terminate() error {
	if !f.deaf {
		f.die(nil)
	}
	return nil
}

func (f *fake) Kill() error {
	f.die(errors.New("killed"))
	return nil
}

// fakes are Processes that record what is started.
type fakes struct {
	mu      sync.Mutex // guards the fields below
	started []*fake
	fail    error
	running map[string]Running
}

func (p *fakes) Start(a *Attachment) (Process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return nil, p.fail
	}
	f := &fake{name: a.Name, pid: 100 + len(p.started), done: make(chan struct{})}
	p.started = append(p.started, f)
	return f, nil
}

func (p *fakes) Running(context.Context) (map[string]Running, error) { return p.running, nil }

// alive returns the names of the processes that run, in order.
func (p *fakes) alive() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.started {
		select {
		case <-f.done:
		default:
			names = append(names, f.name)
		}
	}
	slices.Sort(names)
	return names
}

func (p *fakes) last() *fake {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started[len(p.started)-1]
}

func list(names ...string) (c Config) {
	for _, n := range names {
		name, depth, _ := strings.Cut(n, "/")
		c.Attachments = append(c.Attachments, Attachment{Name: name, Source: "mem:1M", Depth: len(depth)})
	}
	return c
}

// supervised runs a supervisor in a bubble; change replaces its list.
func supervised(t *testing.T, p *fakes, c Config, keep bool, f func(s *Supervisor, change func(Config), end func())) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		reload := make(chan struct{})
		var told []string
		s := New(Options{
			Processes: p, Read: func() (Config, error) { return c, nil }, Reload: reload, Keep: keep,
			Notify: func(state string) { told = append(told, state) }, Logger: slog.New(slog.DiscardHandler),
		})
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		f(s, func(next Config) {
			c = next
			reload <- struct{}{}
			synctest.Wait()
		}, func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		cancel()
		synctest.Wait()
		if len(told) == 0 || !strings.HasPrefix(told[0], "READY=1\n") || told[len(told)-1] != "STOPPING=1" {
			t.Errorf("systemd was told %q", told)
		}
	})
}

func want(t *testing.T, p *fakes, names ...string) {
	t.Helper()
	if got := p.alive(); !slices.Equal(got, names) {
		t.Errorf("running: %v, want %v", got, names)
	}
}

func TestRestartsWithGrowingPauses(t *testing.T) {
	p := &fakes{}
	supervised(t, p, list("a"), false, func(s *Supervisor, _ func(Config), end func()) {
		for i, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			p.last().die(errors.New("it crashed"))
			synctest.Wait()
			if v := s.Views()[0]; v.State != stateWaiting || v.Error != "it crashed" || v.Restarts != i || v.PID != 0 {
				t.Errorf("view %+v", v)
			}
			<-time.After(pause*time.Second - 1)
			want(t, p)
			<-time.After(1)
			synctest.Wait()
			want(t, p, "a")
		}
		<-time.After(steady)
		p.last().die(nil) // it was steady: the pauses begin anew
		<-time.After(firstPause)
		synctest.Wait()
		want(t, p, "a")
		end()
		want(t, p)
	})
}

func TestStartThatFailsIsTriedAgain(t *testing.T) {
	p := &fakes{fail: errors.New("no such program")}
	supervised(t, p, list("a"), false, func(s *Supervisor, _ func(Config), end func()) {
		if v := s.Views()[0]; v.State != stateWaiting || v.Error != "no such program" {
			t.Errorf("view %+v", v)
		}
		p.mu.Lock()
		p.fail = nil
		p.mu.Unlock()
		<-time.After(firstPause)
		synctest.Wait()
		want(t, p, "a")
		end()
	})
}

func TestListChanges(t *testing.T) {
	p := &fakes{}
	supervised(t, p, list("a", "b", "c"), false, func(s *Supervisor, change func(Config), end func()) {
		want(t, p, "a", "b", "c")
		change(list("a", "c/x", "d"))
		want(t, p, "a", "c", "d")
		if n := len(p.started); n != 5 { // a was left alone
			t.Errorf("%d processes were started", n)
		}
		change(list())
		want(t, p)
		if len(s.Views()) != 0 {
			t.Errorf("kept: %+v", s.Views())
		}
		end()
	})
}

func TestProcessThatDoesNotEndIsKilled(t *testing.T) {
	p := &fakes{}
	supervised(t, p, list("a"), false, func(_ *Supervisor, _ func(Config), end func()) {
		p.last().deaf = true
		began := time.Now()
		end()
		want(t, p)
		if d := time.Since(began); d != endTime {
			t.Errorf("it took %v", d)
		}
	})
}

func TestKeepLeavesThem(t *testing.T) {
	p := &fakes{}
	supervised(t, p, list("a", "b"), true, func(_ *Supervisor, _ func(Config), end func()) {
		end()
		want(t, p, "a", "b")
	})
}

// What an earlier supervisor left running goes on if it is what the list says,
// is started anew if it is not, and ends if it is not in the list.
func TestAdoption(t *testing.T) {
	c := list("same", "changed")
	old := map[string]*fake{}
	p := &fakes{running: map[string]Running{}}
	for _, n := range []string{"same", "changed", "gone"} {
		old[n] = &fake{name: n, pid: 7}
		p.running[n] = Running{Process: old[n], Settings: "other"}
	}
	p.running["same"] = Running{Process: old["same"], Settings: c.Attachments[0].settings()}
	synctest.Test(t, func(t *testing.T) {
		for _, f := range old {
			f.done = make(chan struct{}) // of the bubble
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := New(Options{Processes: p, Read: func() (Config, error) { return c, nil }, Logger: slog.New(slog.DiscardHandler)})
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		want(t, p, "changed")
		select {
		case <-old["same"].done:
			t.Error("the one that is as it should be was ended")
		default:
		}
		for _, n := range []string{"changed", "gone"} {
			<-old[n].done
		}
		old["same"].die(errAdoptedDied)
		<-time.After(firstPause)
		synctest.Wait()
		want(t, p, "changed", "same")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		want(t, p)
	})
}

func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	read := func(text string) (Config, error) {
		path := filepath.Join(dir, "host.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return ReadConfig(path)
	}
	c, err := read(`
host_dir: /h
attachments:
  - source: iscsi://a/iqn.2026-11.com.example:disks/3
    policy: failover
    queue_time: forever
    discover: true
    chap_user: u
    chap_secret_file: /s
  - {name: m, source: "mem:1M", as: socket, socket: /x, queue_time: 5s, read_only: true}
`)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(c.Attachments[0].Args(c.HostDir), " ")
	wanted := "attach iscsi://a/iqn.2026-11.com.example:disks/3 --name=disks-3 --host-dir=/h --as=ublk" +
		" --policy=failover --queue-forever --discover --chap-user=u --chap-secret-file=/s"
	if got != wanted {
		t.Errorf("arguments\n%s, want\n%s", got, wanted)
	}
	if got := strings.Join(c.Attachments[1].Args("/h"), " "); !strings.HasSuffix(got, " --socket=/x --queue-time=5s --read-only") {
		t.Errorf("arguments %s", got)
	}
	for name, text := range map[string]string{
		"not YAML":       "{",
		"unknown":        "attachment: []",
		"user alone":     `attachments: [{source: "iscsi://a/iqn.2026-11.com.example:d/0", chap_user: u}]`,
		"secret alone":   `attachments: [{source: "iscsi://a/iqn.2026-11.com.example:d/0", chap_secret_file: /s}]`,
		"mutual alone":   `attachments: [{source: "iscsi://a/iqn.2026-11.com.example:d/0", mutual_user: u, mutual_secret_file: /s}]`,
		"mutual in part": `attachments: [{source: "iscsi://a/iqn.2026-11.com.example:d/0", chap_user: u, chap_secret_file: /s, mutual_user: u}]`,
		"CHAP of memory": `attachments: [{source: "mem:1M", chap_user: u, chap_secret_file: /s}]`,
		"one socket":     `attachments: [{name: a, source: "mem:1M", as: socket, socket: /x}, {name: b, source: "mem:1M", as: socket, socket: /x}]`,
		"one port":       `attachments: [{name: a, source: "mem:1M", as: socket, listen: "127.0.0.1:9"}, {name: b, source: "mem:1M", as: socket, listen: "127.0.0.1:9"}]`,
		"one ready file": `attachments: [{name: a, source: "mem:1M", ready_file: /x}, {name: b, source: "mem:1M", ready_file: /x}]`,
		"open to all":    `attachments: [{source: "mem:1M", as: socket, listen: "0.0.0.0:9"}]`,
		"unknown in one": `attachments: [{source: "mem:1M", as: socket, socket: /x, size: 7}]`,
		"no source":      "attachments: [{name: a}]",
		"level":          "log: loud",
		"twice":          `attachments: [{source: "mem:1M", as: ublk}, {source: "mem:2M"}]`,
		"name":           `attachments: [{name: ../x, source: "mem:1M"}]`,
		"relative":       `attachments: [{source: "mem:1M", ready_file: x}]`,
		"queue time":     `attachments: [{source: "mem:1M", queue_time: soon}]`,
		"policy":         `attachments: [{source: "mem:1M", policy: best}]`,
		"no socket":      `attachments: [{source: "mem:1M", as: socket}]`,
		"no node":        `attachments: [{source: "volume:x"}]`,
		"too many":       "attachments: [" + strings.Repeat("{},", maxAttachments+1) + "]",
	} {
		if _, err := read(text); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// Arguments can be read by everybody on the host, an environment can't.
func TestNoSecretInArguments(t *testing.T) {
	a := Attachment{Name: "a", As: "ublk", Source: "iscsi://u%hunter2hunter2@a/iqn.2026-11.com.example:d/0,iscsi://b/iqn.2026-11.com.example:d/0"}
	for _, arg := range a.Args("/h") {
		if strings.Contains(arg, "hunter2") || strings.Contains(arg, a.settings()) {
			t.Errorf("argument %s", arg)
		}
	}
	if got, want := a.Env(), []string{EnvSettings + "=" + a.settings(), EnvSource + "=" + a.Source}; !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	a.Source = "iscsi://b/iqn.2026-11.com.example:d/0"
	if got, want := a.Env(), []string{EnvSettings + "=" + a.settings()}; !slices.Equal(got, want) || a.Args("/h")[1] != a.Source {
		t.Errorf("environment %q, want %q", got, want)
	}
}
