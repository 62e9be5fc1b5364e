package world

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// Process is a program on a node.
type Process struct {
	Name string

	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
	err     error         // how; read after done
	allowed atomic.Bool   // it may end
}

// Start starts a program on the node; what it writes goes to log.
func (n *Node) Start(name string, log io.Writer, program string, args ...string) (*Process, error) {
	p := &Process{Name: name, done: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	n.do(func() { err = p.start() })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

func (p *Process) start() error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended tells that the process ended though nobody wanted it to; nil: it did
// not.
func (p *Process) Ended() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	if p.allowed.Load() {
		return nil
	}
	return fmt.Errorf("%s ended by itself: %w", p.Name, errors.Join(p.err, errors.New(p.cmd.ProcessState.String())))
}

// Fenced reports whether the process has ended by a SIGKILL that was not ours:
// whoever opened its volumes killed it.
func (p *Process) Fenced() bool {
	select {
	case <-p.done:
	default:
		return false
	}
	return !p.allowed.Load() && p.killed()
}

// GaveUp reports whether the process has ended by itself with the exit status
// of a program of ours that something it needs does not answer.
func (p *Process) GaveUp() bool {
	select {
	case <-p.done:
	default:
		return false
	}
	return !p.allowed.Load() && p.cmd.ProcessState.ExitCode() == 5
}

// killed reports whether the process, which has ended, did so by SIGKILL.
func (p *Process) killed() bool {
	w, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && w.Signaled() && w.Signal() == syscall.SIGKILL
}

// Kill ends the process with SIGKILL and waits, also where it can't end before
// its disk answers.
func (p *Process) Kill() {
	p.allowed.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	<-p.done
}

// Stop ends the process with SIGTERM, and with SIGKILL where it does not end
// within limit, which is an error. Somebody who opens its volumes may kill it
// meanwhile.
func (p *Process) Stop(limit time.Duration) error {
	p.allowed.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-p.done:
		if p.killed() {
			return nil
		}
		return p.err
	case <-t.C:
		// What it is doing instead goes into its log.
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		t.Reset(5 * time.Second)
		select {
		case <-p.done:
		case <-t.C:
			p.Kill()
		}
		return fmt.Errorf("%s did not end within %v of SIGTERM", p.Name, limit)
	}
}

// Dump makes the process, if it is one of Go, write what it is doing, and end.
func (p *Process) Dump() error {
	p.allowed.Store(true)
	return p.cmd.Process.Signal(syscall.SIGQUIT)
}

// Pause stops the process as it is, until Resume; one that has ended stays so.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
