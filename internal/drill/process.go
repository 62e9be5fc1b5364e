package drill

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// process is a gateway of the drill.
type process struct {
	name, dir string
	cmd       *exec.Cmd
	done      chan struct{} // closed when it has ended
	log       tail
}

// tail keeps the end of what a process writes.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 8 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - tailSize; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

// String returns whole lines.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.b
	if len(b) == tailSize {
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	return string(b)
}

// start runs a gateway in its directory, from the configuration there. It does
// not outlive this process, and no key of the terminal reaches it.
func start(program, name, dir string) (*process, error) {
	p := &process{name: name, dir: dir, done: make(chan struct{})}
	p.cmd = exec.Command(program, "gateway", "run", "--config", filepath.Join(dir, "config.yaml"))
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("gateway %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended shows in log
		close(p.done)
	}()
	return p, nil
}

// kill ends it at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}
