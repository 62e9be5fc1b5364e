package layered

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"sango/internal/block"
	"sango/internal/san"
)

// killEnv makes the test binary the process that gets killed: it holds the
// store's directory.
const killEnv = "SANGO_LAYERED_HELPER"

var killVolume = san.UUID{0: 1}

const (
	killWriters = 4
	killBlocks  = 1 << 10 // blocks of 4 KiB a writer has
	killRounds  = 6
)

// helper runs the process that gets killed, in its stead.
func helper() bool {
	dir := os.Getenv(killEnv)
	if dir == "" {
		return false
	}
	run := load
	if os.Getenv(holdEnv) != "" {
		run = hold
	}
	if err := run(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// load writes to the volume until it is killed, and reports on standard output
// what it is about to write ("w") and what was acknowledged ("a"): writer,
// block, count, stamp. In between it takes snapshots and deletes them.
func load(dir string) error {
	s, err := OpenStore(dir, Options{Rate: 20 << 20})
	if err != nil {
		return err
	}
	d, err := s.Open(killVolume)
	if err != nil {
		return err
	}
	errs := make(chan error)
	var out sync.Mutex
	say := func(format string, a ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf(format, a...) // one write(2), which a kill does not undo
	}
	stamp, _ := strconv.ParseUint(os.Getenv(killEnv+"_STAMP"), 10, 64)
	for i := range killWriters {
		go func() {
			r := rand.New(rand.NewPCG(stamp, uint64(i)))
			for n := stamp + 1; ; n++ {
				count := 1 + r.IntN(20)
				b := r.IntN(killBlocks - count)
				p := bytes.Repeat(killBlock(n), count)
				flags := []block.Flags{0, 0, 0, block.FUA, block.Atomic}[r.IntN(5)]
				say("w %d %d %d %d %d\n", i, b, count, n, flags)
				if err := block.WriteAt(d, p, int64(i*killBlocks+b)*4096, flags); err != nil {
					errs <- err
					return
				}
				say("a %d %d %d %d %d\n", i, b, count, n, flags)
			}
		}()
	}
	go func() {
		for n := stamp; ; n++ {
			name := fmt.Sprintf("s%d", n)
			for _, fn := range []func() error{
				func() error { return s.Snapshot(killVolume, name) },
				func() error { return block.Flush(d) },
				func() error { return s.DeleteSnapshot(killVolume, name) },
			} {
				if err := fn(); err != nil {
					errs <- err
					return
				}
			}
		}
	}()
	return <-errs
}

func killBlock(stamp uint64) []byte {
	b := make([]byte, 4096)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], stamp)
	}
	return b
}

// TestKill kills a process that writes to a volume, with kill -9, and looks
// for each acknowledged write afterwards. The volume gets snapshots, merges
// and atomic writes meanwhile.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenStore(dir, Options{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(CreateSpec{ID: killVolume, Size: killWriters * killBlocks * 4096, BlockSize: 4096}); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var want [killWriters * killBlocks]uint64
	stamp := uint64(0)
	for round := range killRounds {
		flight := killOnce(t, dir, stamp, 200+r.IntN(1500), &want, &stamp)
		d, err := s.Open(killVolume)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		checkKilled(t, d, &want, flight)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	rep, err := s.Check()
	if err != nil || !rep.OK() {
		t.Fatal(rep, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// killed is a write that was going on.
type killed struct {
	b, n   int
	stamp  uint64
	atomic bool
}

// killOnce runs the process until it has acknowledged so many writes, kills
// it, and returns what was going on then.
func killOnce(t *testing.T, dir string, stamp uint64, acks int, want *[killWriters * killBlocks]uint64, top *uint64) map[int]killed {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killEnv+"="+dir, fmt.Sprintf("%s_STAMP=%d", killEnv, stamp))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	flight := map[int]killed{}
	lines := bufio.NewReader(out)
	for n := 0; ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var what string
		var w, b, count int
		var st uint64
		var flags block.Flags
		if _, err := fmt.Sscan(line, &what, &w, &b, &count, &st, &flags); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		*top = max(*top, st)
		if what == "w" {
			flight[w] = killed{w*killBlocks + b, count, st, flags&block.Atomic != 0}
			continue
		}
		delete(flight, w)
		for i := range count {
			want[w*killBlocks+b+i] = st
		}
		if n++; n == acks {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
		t.Fatalf("the process was not killed: %v\n%s", err, &stderr)
	}
	return flight
}

// checkKilled compares the volume with what was acknowledged, and takes over
// what it holds of the writes that were going on.
func checkKilled(t *testing.T, d block.Device, want *[killWriters * killBlocks]uint64, flight map[int]killed) {
	t.Helper()
	got := make([]uint64, len(want))
	p := make([]byte, 4096)
	for b := range want {
		if err := block.ReadAt(d, p, int64(b)*4096); err != nil {
			t.Fatal(err)
		}
		got[b] = binary.LittleEndian.Uint64(p)
		f, flying := flight[b/killBlocks]
		flying = flying && b >= f.b && b < f.b+f.n
		if flying && !f.atomic {
			// A write cut short may end inside a block.
			want[b] = got[b]
			if err := block.WriteAt(d, killBlock(got[b]), int64(b)*4096, 0); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !bytes.Equal(p, killBlock(got[b])) {
			t.Errorf("block %d is torn", b)
		}
		if got[b] != want[b] && !(flying && got[b] == f.stamp) {
			t.Errorf("block %d holds %d, acknowledged was %d", b, got[b], want[b])
		}
	}
	for _, f := range flight {
		for b := f.b; f.atomic && b < f.b+f.n; b++ {
			if (got[b] == f.stamp) != (got[f.b] == f.stamp) {
				t.Errorf("atomic write of blocks %d+%d is there in part", f.b, f.n)
			}
			want[b] = got[b]
		}
	}
}
