package world

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A process that somebody else kills as it is paused, or as it ends, has done nothing wrong.
func TestAFencedProcessIsNoFailure(t *testing.T) {
	p := &Process{Name: "sleep", cmd: exec.CommandContext(t.Context(), "sleep", "60"), done: make(chan struct{})}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if !p.Fenced() {
		t.Error("nobody killed it")
	}
	if err := p.Pause(); err != nil {
		t.Error(err)
	}
	if err := p.Stop(time.Second); err != nil {
		t.Error(err)
	}
}
