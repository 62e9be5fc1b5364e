package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sango/internal/attach"
	"sango/internal/san"
)

// Process is the process of an attachment.
type Process interface {
	PID() int
	Done() <-chan struct{} // closed when it has ended
	Err() error            // why it ended, once Done is closed; nil: an orderly end
	Terminate() error      // asks for an orderly end
	Kill() error
}

// Processes starts processes, and finds those of an earlier supervisor.
type Processes interface {
	Start(a *Attachment) (Process, error)
	// Running returns the processes that a supervisor started and that run, by
	// the name of their attachment, with the settings that they were started with.
	Running(ctx context.Context) (map[string]Running, error)
}

// Running is a process of an earlier supervisor.
type Running struct {
	Process  Process
	Settings string
}

// Programs are Processes that run a program.
type Programs struct {
	Dir    attach.Dir
	Path   string // of the program
	Log    slog.Level
	Stderr io.Writer
}

// Start implements Processes. The process is not of the supervisor's group: an
// interrupt from a terminal is for the supervisor alone.
func (p *Programs) Start(a *Attachment) (Process, error) {
	cmd := exec.Command(p.Path, append(a.Args(p.Dir.Path()), "--log="+strings.ToLower(p.Log.String()))...)
	cmd.Env = append(os.Environ(), a.Env()...)
	cmd.Stderr = p.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Its log goes where ours does, without us in between: it may outlive us.
	why, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{tell}
	cmd.Env = append(cmd.Env, EnvErrorFD+"="+strconv.Itoa(errorFD))
	err = cmd.Start()
	_ = tell.Close()
	if err != nil {
		_ = why.Close()
		return nil, err
	}
	c := &program{cmd: cmd, done: make(chan struct{})}
	go func() { // ends with the process
		defer close(c.done)
		defer why.Close()
		if c.err = cmd.Wait(); c.err != nil {
			c.err = because(why, c.err)
		}
	}()
	return c, nil
}

const (
	errorFD  = 3        // of the first of ExtraFiles
	maxError = 16 << 10 // bytes of an error that are kept; a pipe takes them without a reader
)

// because returns the error that a process told through its pipe, err where it
// told none: it was killed, say.
func because(pipe *os.File, err error) error {
	// The other end is closed, unless the process has left one of its own.
	_ = pipe.SetReadDeadline(time.Now().Add(time.Second))
	told, _ := io.ReadAll(io.LimitReader(pipe, maxError))
	if text := strings.TrimSpace(strings.ToValidUTF8(string(told), "?")); text != "" {
		return fmt.Errorf("%s (%w)", strings.ReplaceAll(text, "\n", "; "), err)
	}
	return err
}

// TellError tells the supervisor of this process, if it has one, why the
// process fails.
func TellError(err error) {
	fd, perr := strconv.Atoi(os.Getenv(EnvErrorFD))
	if perr != nil || fd < errorFD {
		return
	}
	f := os.NewFile(uintptr(fd), "supervisor")
	if f == nil {
		return
	}
	text := err.Error()
	_, _ = f.WriteString(text[:min(len(text), maxError)]) // it may be gone
	_ = f.Close()
}

// program is a child.
type program struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // read after done
}

func (p *program) PID() int              { return p.cmd.Process.Pid }
func (p *program) Done() <-chan struct{} { return p.done }
func (p *program) Err() error            { return p.err }
func (p *program) Terminate() error      { return p.cmd.Process.Signal(syscall.SIGTERM) }
func (p *program) Kill() error           { return p.cmd.Process.Kill() }

// Running implements Processes.
func (p *Programs) Running(ctx context.Context) (map[string]Running, error) {
	all, err := p.Dir.List(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]Running{}
	for _, s := range all {
		if s.Phase == attach.PhaseDead || s.Settings == "" {
			continue
		}
		proc, err := os.FindProcess(s.PID) // a handle: the number can't come to mean another process
		if err != nil {
			continue
		}
		a := &adopted{dir: p.Dir, name: s.Name, proc: proc, done: make(chan struct{})}
		if now, err := p.Dir.Status(ctx, s.Name); err != nil || now.PID != s.PID {
			continue // it ended before the handle was there
		}
		go a.watch()
		found[s.Name] = Running{Process: a, Settings: s.Settings}
	}
	return found, nil
}

// adopted is the process of an attachment that is no child of ours.
type adopted struct {
	dir  attach.Dir
	name string
	proc *os.Process
	done chan struct{}
	err  error // read after done
}

// watchTime is how often an adopted process is looked at.
const watchTime = time.Second

var errAdoptedDied = errors.New("the process died")

// watch closes done when the process has ended.
func (a *adopted) watch() {
	defer close(a.done)
	tick := time.NewTicker(watchTime)
	defer tick.Stop()
	for range tick.C {
		if a.proc.Signal(syscall.Signal(0)) == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), watchTime)
		defer cancel()
		if _, err := a.dir.Status(ctx, a.name); !errors.Is(err, san.ErrNotFound) {
			a.err = errAdoptedDied // it left something
		}
		return
	}
}

// PID implements Process.
func (a *adopted) PID() int { return a.proc.Pid }

// Done implements Process.
func (a *adopted) Done() <-chan struct{} { return a.done }

// Err implements Process.
func (a *adopted) Err() error { return a.err }

// Terminate implements Process.
func (a *adopted) Terminate() error { return a.proc.Signal(syscall.SIGTERM) }

// Kill implements Process.
func (a *adopted) Kill() error { return a.proc.Kill() }
