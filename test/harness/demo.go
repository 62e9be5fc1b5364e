package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// readyWithin is how long a demo may take until it serves. Machines are slow, and etcd syncs.
const readyWithin = 60 * time.Second

// DemoOptions says how a `sango demo` process is started.
type DemoOptions struct {
	Binary     string   // the sango program
	Dir        string   // its --dir; must exist
	Portals    []string // --portals; none: two ephemeral ones on loopback
	Advertise  []string // --advertise, where a host sees other addresses than the process
	Volumes    []string // --volume arguments, NAME=SIZE[,OPTION...], in LUN order
	CHAPUser   string   // with CHAPSecret: what initiators must know
	CHAPSecret string
	Args       []string // further arguments
	Log        io.Writer
}

// Demo is a running `sango demo`.
type Demo struct {
	Ready Ready

	opts DemoOptions
	cmd  *exec.Cmd
	out  *tail
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; read after done
}

// Ready is the file that a demo writes when it serves (DESIGN: the contract of `sango demo`).
type Ready struct {
	Target  string   `json:"target"`
	Portals []string `json:"portals"`
	LUNs    []struct {
		LUN    int    `json:"lun"`
		Volume string `json:"volume"`
		Size   int64  `json:"size"`
	} `json:"luns"`
	API string `json:"api"`
}

// StartDemo starts `sango demo` and returns when it serves. An error carries the last lines that the process wrote.
func StartDemo(ctx context.Context, o DemoOptions) (*Demo, error) {
	if len(o.Portals) == 0 {
		o.Portals = []string{"127.0.0.1:0", "127.0.0.1:0"}
	}
	ready := filepath.Join(o.Dir, "ready.json")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	args := []string{"demo", "--dir", filepath.Join(o.Dir, "state"), "--portals", strings.Join(o.Portals, ","), "--ready-file", ready}
	if len(o.Advertise) > 0 {
		args = append(args, "--advertise", strings.Join(o.Advertise, ","))
	}
	for _, v := range o.Volumes {
		args = append(args, "--volume", v)
	}
	if o.CHAPUser != "" {
		secret := filepath.Join(o.Dir, "secret")
		if err := os.WriteFile(secret, []byte(o.CHAPSecret+"\n"), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--chap-user", o.CHAPUser, "--chap-secret-file", secret)
	}
	args = append(args, o.Args...)

	d := &Demo{opts: o, out: &tail{also: o.Log}, done: make(chan struct{})}
	d.cmd = exec.Command(o.Binary, args...)
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.out
	// A process group of its own: an interrupt on the terminal reaches this program, which then stops the demo.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start sango demo: %w", err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	if err := d.awaitReady(ctx, ready); err != nil {
		d.Kill()
		return nil, fmt.Errorf("%w\n%s", err, d.out.String())
	}
	return d, nil
}

func (d *Demo) awaitReady(ctx context.Context, file string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(file)
		if err == nil {
			if err := json.Unmarshal(b, &d.Ready); err != nil {
				return fmt.Errorf("ready file of sango demo: %w", err)
			}
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-tick.C:
		case <-d.done:
			return fmt.Errorf("sango demo ended before it served: %w", d.exit())
		case <-ctx.Done():
			return fmt.Errorf("sango demo does not serve: %w", ctx.Err())
		}
	}
}

func (d *Demo) exit() error {
	if d.err == nil {
		return errors.New("exit status 0")
	}
	return d.err
}

// Restart starts a demo that has ended again, on the same directory and the same ports.
func (d *Demo) Restart(ctx context.Context) (*Demo, error) {
	o := d.opts
	o.Portals = d.Ready.Portals
	if len(o.Advertise) > 0 {
		o.Portals = d.opts.Portals
	}
	return StartDemo(ctx, o)
}

// Dir is the --dir that the process runs on.
func (d *Demo) Dir() string { return filepath.Join(d.opts.Dir, "state") }

// PID is the process id.
func (d *Demo) PID() int { return d.cmd.Process.Pid }

// Output is what the process wrote last.
func (d *Demo) Output() string { return d.out.String() }

// Done is closed when the process has ended.
func (d *Demo) Done() <-chan struct{} { return d.done }

// URL is the iscsi:// address of a LUN through the i-th portal, as libiscsi and QEMU take it.
func (d *Demo) URL(portal, lun int) string {
	user := ""
	if d.opts.CHAPUser != "" {
		user = d.opts.CHAPUser + "%" + d.opts.CHAPSecret + "@"
	}
	return "iscsi://" + user + d.Ready.Portals[portal] + "/" + d.Ready.Target + "/" + strconv.Itoa(lun)
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (d *Demo) Kill() {
	_ = d.cmd.Process.Kill() // it may have ended by itself
	<-d.done
}

// Stop ends the process with SIGTERM. It must exit with 0 within the 10 s that the command line promises; twice that
// is allowed here for slow machines.
func (d *Demo) Stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		d.Kill()
		return fmt.Errorf("sango demo did not end within 20 s of SIGTERM\n%s", d.out.String())
	}
	if d.err != nil {
		return fmt.Errorf("sango demo: %w\n%s", d.err, d.out.String())
	}
	return nil
}

// tail keeps the end of what a process writes.
type tail struct {
	also io.Writer

	mu  sync.Mutex
	buf []byte
}

const tailSize = 64 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.also != nil {
		if _, err := t.also.Write(p); err != nil {
			return 0, err
		}
	}
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - tailSize; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
