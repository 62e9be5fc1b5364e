package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server under measurement, ours or a peer's.
type process struct {
	name string
	pid  int
	// For those that this program has started itself:
	cmd    *exec.Cmd
	log    string        // file with what it wrote
	exited chan struct{} // closed when it has ended
}

// startProcess starts a server that runs until it is killed. What it writes goes to a file in dir.
func startProcess(dir, program string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{name: filepath.Base(program), cmd: exec.Command(program, args...), log: log.Name(), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A group of its own: an interrupt on the terminal reaches this program, which then ends its servers.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		_ = p.cmd.Wait() // it is killed, or its log tells
		close(p.exited)
	}()
	return p, nil
}

// await calls ready until it succeeds; the process must not end meanwhile.
func (p *process) await(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return fmt.Errorf("%s has ended: %w\n%s", p.name, err, p.said())
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve: %w\n%s", p.name, errors.Join(err, ctx.Err()), p.said())
		}
	}
}

// said returns the last lines that the process wrote.
func (p *process) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}

// end stops the process with sig, and with SIGKILL if that takes too long.
func (p *process) end(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig) // it may have ended by itself
	select {
	case <-p.exited:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// clockTick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on every machine that Linux shows it to.
const clockTick = 10 * time.Millisecond

// cpu returns the processor time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.name, err)
	}
	return parseStat(string(b))
}

// parseStat returns utime + stime of the contents of /proc/PID/stat, proc(5).
func parseStat(s string) (time.Duration, error) {
	i := strings.LastIndexByte(s, ')') // the name before it may hold anything
	if i < 0 {
		return 0, fmt.Errorf("no name in %q", s)
	}
	f := strings.Fields(s[i+1:]) // from the third field, the state, on
	const utime, stime = 14 - 3, 15 - 3
	if len(f) <= stime {
		return 0, fmt.Errorf("too few fields in %q", s)
	}
	u, err := strconv.ParseInt(f[utime], 10, 64)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(f[stime], 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(u+v) * clockTick, nil
}

// resetPeak makes VmHWM begin at what the process has now, proc(5) clear_refs.
func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pid), []byte("5"), 0)
}

// memory returns VmHWM or VmRSS in MiB.
func (p *process) memory(field string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.name, err)
	}
	return parseStatus(string(b), field)
}

// parseStatus returns a field of /proc/PID/status that is in kB, in MiB.
func parseStatus(s, field string) (float64, error) {
	for line := range strings.Lines(s) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name != field {
			continue
		}
		kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		return kb / 1024, err
	}
	return 0, fmt.Errorf("no %s in /proc/PID/status", field)
}
