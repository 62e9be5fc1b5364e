package layered

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// holdEnv makes the test binary a process that opens killVolume: its value is
// epoch and member.
const holdEnv = "SANGO_LAYERED_HOLD"

// hold opens the volume, says so, and does what it reads on its standard input.
func hold(dir string) error {
	var o OpenOptions
	if _, err := fmt.Sscan(os.Getenv(holdEnv), &o.Epoch, &o.Member); err != nil {
		return err
	}
	s, err := OpenStore(dir, Options{Log: quiet})
	if err != nil {
		return err
	}
	d, err := s.OpenAs(killVolume, o)
	if err != nil {
		return err
	}
	fmt.Println("open", s.Identity())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "close":
			err = d.Close()
		case "write":
			err = block.WriteAt(d, killBlock(uint64(o.Epoch)), 0, block.FUA)
		}
		fmt.Println("done", err)
	}
	return in.Err()
}

// process is one that holds the volume.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	said string // about the open
}

// other starts a process that opens killVolume.
func other(t *testing.T, dir string, epoch san.Epoch, member uint64) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), killEnv+"="+dir, fmt.Sprintf("%s=%d %d", holdEnv, epoch, member))
	p.cmd.Stderr = os.Stderr
	var err error
	p.in, err = p.cmd.StdinPipe()
	must(t, err)
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	p.out = bufio.NewReader(out)
	must(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	p.said = p.line()
	if !strings.HasPrefix(p.said, "open ") {
		t.Fatalf("it said %q", p.said)
	}
	return p
}

func (p *process) line() string {
	p.t.Helper()
	l, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("the process says nothing: %v", err)
	}
	return strings.TrimSpace(l)
}

// do has the process do something, which it survives.
func (p *process) do(what string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, what); err != nil {
		p.t.Fatalf("the process is gone: %v", err)
	}
	if got := p.line(); got != "done <nil>" {
		p.t.Fatalf("%s: %s", what, got)
	}
}

// killed waits for the end of a process that was killed.
func (p *process) killed() {
	p.t.Helper()
	_ = p.cmd.Wait()
	if st := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !st.Signaled() || st.Signal() != syscall.SIGKILL {
		p.t.Fatalf("the process was not killed: %v", p.cmd.ProcessState)
	}
}

// shared makes a store with killVolume.
func shared(t *testing.T) (*Store, string) {
	t.Helper()
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	must(t, s.Create(CreateSpec{ID: killVolume, Size: 1 << 20, BlockSize: 4096}))
	return s, dir
}

// soon is a context for what does not happen.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*signWait)
	t.Cleanup(cancel)
	return ctx
}

func TestHolderVector(t *testing.T) {
	h := holder{boot: [16]byte{15: 9}, pid: 1, start: 2, epoch: 3, member: 4}
	if got, ok := parseHolder(h.encode()); !ok || got != h {
		t.Errorf("%+v, %v", got, ok)
	}
	old := h
	old.member = 0 // as a program wrote it that knew of no members
	if got, ok := parseHolder(old.encode()); !ok || got != old {
		t.Errorf("%+v, %v", got, ok)
	}
	b := h.encode()
	for i := range b {
		if _, ok := parseHolder(b[:i]); ok {
			t.Errorf("the first %d bytes are a holder", i)
		}
		b[i] ^= 1
		if _, ok := parseHolder(b); ok {
			t.Errorf("byte %d changed, and still valid", i)
		}
		b[i] ^= 1
	}
}

// A fence kills the process that holds the volume for the member, and no other.
func TestFenceMember(t *testing.T) {
	s, dir := shared(t)
	must(t, s.Fence(t.Context(), killVolume, 7)) // nobody holds it
	must(t, s.Fence(t.Context(), san.NewUUID(), 7))
	if err := s.Fence(t.Context(), killVolume, 0); !errors.Is(err, ErrSpec) {
		t.Errorf("fence of nobody: %v", err)
	}
	p := other(t, dir, 5, 7)
	must(t, s.Fence(t.Context(), killVolume, 6))
	p.do("write")
	must(t, s.Fence(t.Context(), killVolume, 7))
	p.killed()
	must(t, s.Fence(t.Context(), killVolume, 7))
	if _, err := s.OpenAs(killVolume, OpenOptions{Epoch: 4, Member: 8}); !errors.Is(err, ErrFenced) {
		t.Errorf("open under an earlier epoch: %v", err)
	}
	d, err := s.OpenAs(killVolume, OpenOptions{Epoch: 6, Member: 8})
	must(t, err)
	b := make([]byte, 4096)
	if must(t, block.ReadAt(d, b, 0)); string(b) != string(killBlock(5)) {
		t.Error("what the fenced one wrote is not there")
	}
	must(t, d.Close())
}

// An open for an epoch kills who holds the volume under a lower one, and is
// refused by others.
func TestOpenShutsOut(t *testing.T) {
	s, dir := shared(t)
	p := other(t, dir, 5, 7)
	for _, o := range []OpenOptions{{Epoch: 4, Member: 8}, {Epoch: 5, Member: 8}, {Epoch: 5, Member: 8, Fence: true}} {
		if _, err := s.OpenAs(killVolume, o); !errors.Is(err, ErrFenced) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := s.Open(killVolume); !errors.Is(err, ErrInUse) {
		t.Errorf("open of nobody: %v", err)
	}
	if err := s.Snapshot(killVolume, "a"); !errors.Is(err, ErrInUse) {
		t.Errorf("snapshot: %v", err)
	}
	p.do("write")
	d, err := s.OpenAs(killVolume, OpenOptions{Epoch: 6, Member: 8})
	must(t, err)
	p.killed()
	must(t, d.Close())

	// Who has nothing but an operation to do gets a moment to end it.
	p = other(t, dir, 0, 0)
	began := time.Now()
	d, err = s.OpenAs(killVolume, OpenOptions{Epoch: 7, Member: 8})
	must(t, err)
	p.killed()
	if waited := time.Since(began); waited < strayWait {
		t.Errorf("it was killed after %s", waited)
	}
	must(t, d.Close())
}

// A process that has let go of a volume is not killed in the stead of one that
// has not signed yet.
func TestFormerHolderLives(t *testing.T) {
	s, dir := shared(t)
	p := other(t, dir, 5, 7)
	p.do("close")
	l, err := s.fs.Lock(s.volumeDir(killVolume) + "/" + lockName)
	must(t, err)
	if _, err := s.OpenContext(soon(t), killVolume, OpenOptions{Epoch: 6, Member: 8, Fence: true}); !errors.Is(err, ErrInUse) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("open of a locked volume: %v", err)
	}
	if err := s.Fence(soon(t), killVolume, 7); !errors.Is(err, ErrInUse) {
		t.Errorf("fence of a locked volume: %v", err)
	}
	if _, err := s.Open(killVolume); !errors.Is(err, ErrInUse) {
		t.Errorf("open of nobody: %v", err)
	}
	must(t, l.Close())
	d, err := s.OpenAs(killVolume, OpenOptions{Epoch: 6, Member: 8})
	must(t, err)
	must(t, d.Close())
	if _, err := fmt.Fprintln(p.in, "nothing"); err != nil || p.line() == "" {
		t.Error("the former holder was killed")
	}
}

// A holder on another machine can't be fenced, and is waited for.
func TestHolderElsewhere(t *testing.T) {
	s, _ := shared(t)
	dir := s.volumeDir(killVolume)
	l, err := s.fs.Lock(dir + "/" + lockName)
	must(t, err)
	must(t, l.Note(holder{boot: [16]byte{1}, pid: uint32(os.Getpid()), start: s.self.start, epoch: 5, member: 7}.encode()))
	if err := s.Fence(t.Context(), killVolume, 7); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "another machine") {
		t.Errorf("fence: %v", err)
	}
	must(t, s.Fence(t.Context(), killVolume, 8))
	if _, err := s.OpenContext(soon(t), killVolume, OpenOptions{Epoch: 6, Member: 8}); !errors.Is(err, ErrInUse) {
		t.Errorf("open: %v", err)
	}
	if _, err := s.OpenAs(killVolume, OpenOptions{Epoch: 5, Member: 8}); !errors.Is(err, ErrFenced) {
		t.Errorf("open under the epoch of the holder: %v", err)
	}
	opened := make(chan error)
	go func() {
		d, err := s.OpenContext(t.Context(), killVolume, OpenOptions{Epoch: 6, Member: 8})
		if err == nil {
			err = d.Close()
		}
		opened <- err
	}()
	must(t, l.Close())
	must(t, <-opened)
}

// lockFree reports whether nobody holds a volume's lock.
func lockFree(t *testing.T, s *Store, id san.UUID) bool {
	t.Helper()
	l, err := s.fs.Lock(s.volumeDir(id) + "/" + lockName)
	if errors.Is(err, vfs.ErrLocked) {
		return false
	}
	must(t, err)
	must(t, l.Close())
	return true
}

// Members of one process have a volume one after the other.
func TestOwnersInOneProcess(t *testing.T) {
	s, dir := shared(t)
	for i, name := range []string{"one store", "a store of its own"} {
		epoch, next := san.Epoch(10*i+10), s
		if i > 0 {
			next = openStore(t, dir, Options{})
		}
		a, err := s.OpenAs(killVolume, OpenOptions{Epoch: epoch, Member: uint64(epoch)})
		must(t, err)
		if _, err := next.OpenAs(killVolume, OpenOptions{Epoch: epoch, Member: 99}); !errors.Is(err, ErrFenced) {
			t.Errorf("%s: open under the same epoch: %v", name, err)
		}
		if _, err := next.OpenContext(soon(t), killVolume, OpenOptions{Epoch: epoch + 1, Member: 99}); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: open while another has it: %v", name, err)
		}
		if err := next.Fence(soon(t), killVolume, uint64(epoch)); !errors.Is(err, ErrInUse) {
			t.Errorf("%s: fence of a member of this process: %v", name, err)
		}
		must(t, next.Fence(t.Context(), killVolume, 98))
		type result struct {
			d   block.Device
			err error
		}
		fenced, opened := make(chan error, 1), make(chan result, 1)
		go func() { fenced <- next.Fence(t.Context(), killVolume, uint64(epoch)) }()
		go func() {
			d, err := next.OpenContext(t.Context(), killVolume, OpenOptions{Epoch: epoch + 1, Member: 99})
			opened <- result{d, err}
		}()
		must(t, block.WriteAt(a, killBlock(uint64(epoch)), 0, 0))
		must(t, a.Close())
		must(t, <-fenced)
		b := <-opened
		must(t, b.err)
		if err := block.WriteAt(a, killBlock(1), 0, 0); block.ClassOf(err) != block.Closed {
			t.Errorf("%s: write to a device that was closed: %v", name, err)
		}
		p := make([]byte, 4096)
		if must(t, block.ReadAt(b.d, p, 0)); string(p) != string(killBlock(uint64(epoch))) {
			t.Errorf("%s: what the first one wrote is not there", name)
		}
		must(t, b.d.Close())
		if !lockFree(t, s, killVolume) {
			t.Errorf("%s: it is locked", name)
		}
	}
}
