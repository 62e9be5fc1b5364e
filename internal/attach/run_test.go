package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sango/internal/block"
	"sango/internal/initiator"
	"sango/internal/multipath"
	"sango/internal/pause"
	"sango/internal/san"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is a frontend of a test: a disk that may be in use.
type disk struct {
	id      int
	busy    bool
	stuck   bool // stop does not come to an end
	stopped chan struct{}
	forced  bool
	size    chan int64
}

func (d *disk) place() (string, int, string) { return fmt.Sprintf("/dev/ublkb%d", d.id), d.id, "" }
func (d *disk) resize(_ context.Context, n int64) error {
	d.size <- n
	return nil
}

func (d *disk) wait() error {
	<-d.stopped
	return nil
}

func (d *disk) stop(ctx context.Context, force bool) error {
	switch {
	case d.stuck:
		return context.DeadlineExceeded
	case d.busy && !force:
		return errDiskInUse("/dev/ublkb7")
	}
	d.forced = force
	close(d.stopped)
	return nil
}

// run is a Run in the background.
type run struct {
	*testing.T
	dir    Dir
	ready  chan Info
	ended  chan error
	cancel context.CancelFunc
}

func quiet(d Dir, source string) Options {
	s, err := ParseSource(source)
	if err != nil {
		s = Source{}
	}
	return Options{Dir: d, Source: s, As: AsUblk, Logger: slog.New(slog.DiscardHandler)}
}

func begin(t *testing.T, o Options) *run {
	ctx, cancel := context.WithCancel(t.Context())
	r := &run{T: t, dir: o.Dir, ready: make(chan Info, 1), ended: make(chan error, 1), cancel: cancel}
	t.Cleanup(cancel)
	go func() { r.ended <- Run(ctx, o, func(i Info) { r.ready <- i }) }()
	return r
}

// with makes an attachment use d instead of a kernel's disk.
func (o Options) with(d *disk, recovered *bool) Options {
	d.stopped, d.size = make(chan struct{}), make(chan int64, 1)
	o.start = func(_ context.Context, _ *Options, st *State, _ block.Device, recover bool) (frontend, error) {
		if recovered != nil {
			*recovered = recover
		}
		if recover {
			d.id = st.Device
		}
		return d, nil
	}
	return o
}

func left(t *testing.T, d Dir) []string {
	t.Helper()
	entries, err := os.ReadDir(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRunLeavesNothing(t *testing.T) {
	d := testDir(t)
	o := quiet(d, "mem:16M").with(&disk{id: 7}, nil)
	o.ReadyFile = filepath.Join(d.Path(), "ready")
	r := begin(t, o)
	want := Info{Name: "mem", Device: "/dev/ublkb7", Size: 16 << 20, BlockSize: 512, PID: os.Getpid()}
	if got := <-r.ready; got != want {
		t.Errorf("ready: %+v, want %+v", got, want)
	}
	b, err := os.ReadFile(o.ReadyFile)
	if err != nil || !strings.Contains(string(b), `"device": "/dev/ublkb7"`) {
		t.Errorf("ready file: %s, %v", b, err)
	}
	s, err := d.Status(t.Context(), "mem")
	if err != nil || s.Phase != PhaseServing || s.Info != want || s.IO["read"].Requests != 0 {
		t.Errorf("status %+v, %v", s, err)
	}
	if err := Run(t.Context(), o, func(Info) {}); !errors.Is(err, san.ErrRefused) {
		t.Errorf("a second process: %v", err)
	}
	if name, err := d.Find(t.Context(), "ublkb7"); name != "mem" || err != nil {
		t.Errorf("found %s, %v", name, err)
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if got := left(t, d); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

// Who waits for a ready file that can't be written would wait for ever.
func TestReadyFileThatCannotBeWritten(t *testing.T) {
	d := testDir(t)
	for _, path := range []string{filepath.Join(t.TempDir(), "none", "ready"), t.TempDir()} {
		o := quiet(d, "mem:16M").with(&disk{id: 7}, nil)
		o.ReadyFile = path
		err := Run(t.Context(), o, func(Info) { t.Error("it serves") })
		if !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "--ready-file") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, found, err := d.load("mem"); found || err != nil {
		t.Errorf("state is left: %v, %v", found, err)
	}
}

// A disk in use is not taken away, unless by force.
func TestDetachOfDiskInUse(t *testing.T) {
	d := testDir(t)
	front := &disk{id: 7, busy: true}
	r := begin(t, quiet(d, "mem:16M").with(front, nil))
	<-r.ready
	if err := d.Detach(t.Context(), "mem", false); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("detached: %v", err)
	}
	if s, err := d.Status(t.Context(), "mem"); err != nil || s.Phase != PhaseServing {
		t.Errorf("status %+v, %v", s, err)
	}
	if err := d.Detach(t.Context(), "mem", true); err != nil || !front.forced {
		t.Errorf("by force: %v", err)
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if got := left(t, d); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

// What a process leaves, by being told to end while its disk is in use, the
// next one takes over, under the next run.
func TestTakeOver(t *testing.T) {
	for _, left := range []*disk{{id: 7, busy: true}, {id: 7, stuck: true}} {
		d := testDir(t)
		vol, err := parseMemory("16M")
		if err != nil {
			t.Fatal(err)
		}
		o := quiet(d, "volume:v")
		o.OpenVolume = func(context.Context, string, bool) (block.Device, error) { return newMemory(vol) }
		r := begin(t, o.with(left, nil))
		<-r.ready
		before, _, err := d.load("v")
		if err != nil || before.Device != 7 || before.Run != 1 {
			t.Errorf("state %+v, %v", before, err)
		}
		r.cancel()
		if err := <-r.ended; !errors.Is(err, ErrLeft) {
			t.Errorf("ended with %v", err)
		}
		close(left.stopped)
		s, err := d.Status(t.Context(), "v")
		if err != nil || s.Phase != PhaseDead || s.Device != "/dev/ublkb7" {
			t.Errorf("status %+v, %v", s, err)
		}
		if err := d.Detach(t.Context(), "v", false); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "--force") {
			t.Errorf("detached: %v", err)
		}
		other := o
		other.Source, other.Name = Source{Volume: "w"}, "v"
		if err := Run(t.Context(), other.with(&disk{}, nil), func(Info) {}); !errors.Is(err, san.ErrRefused) {
			t.Errorf("another source: %v", err)
		}
		other = o
		other.As = AsNBD
		if err := Run(t.Context(), other.with(&disk{}, nil), func(Info) {}); !errors.Is(err, san.ErrRefused) {
			t.Errorf("another frontend: %v", err)
		}
		recovered := false
		r = begin(t, o.with(&disk{}, &recovered))
		if i := <-r.ready; i.Device != "/dev/ublkb7" || !recovered {
			t.Errorf("taken over: %+v, %v", i, recovered)
		}
		after, _, err := d.load("v")
		before.Run++
		if diff := cmp.Diff(before, after); err != nil || diff != "" {
			t.Error(err, diff)
		}
		r.cancel()
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	}
}

// A disk of another boot is gone: the same number may be another one's.
func TestDiskOfAnotherBoot(t *testing.T) {
	d := testDir(t)
	if err := d.save(&State{Name: "v", Source: "volume:v", As: AsUblk, Group: 9, Run: 4, Device: 7, Boot: "another", Volume: "other", BlockSize: 4096}); err != nil {
		t.Fatal(err)
	}
	vol, err := parseMemory("16M")
	if err != nil {
		t.Fatal(err)
	}
	o := quiet(d, "volume:v")
	o.OpenVolume = func(context.Context, string, bool) (block.Device, error) { return newMemory(vol) }
	recovered := true
	r := begin(t, o.with(&disk{id: 1}, &recovered))
	if i := <-r.ready; i.Device != "/dev/ublkb1" || recovered {
		t.Errorf("ready %+v, recovered %v", i, recovered)
	}
	if s, _, err := d.load("v"); err != nil || s.Run != 5 || s.Group != 9 || s.Device != 1 {
		t.Errorf("state %+v, %v", s, err)
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// An attachment without any path gives up in time, can be told to end before,
// and leaves nothing either way.
func TestStartWithoutPath(t *testing.T) {
	d := testDir(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // answers nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := quiet(d, "mem:1M")
	o.Name, o.Source = "x", Source{URLs: []initiator.URL{{Host: l.Addr().String(), Target: "iqn.2026-11.test:t"}}}
	o.StartTime = 300 * time.Millisecond
	if err := Run(t.Context(), o, func(Info) {}); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("ended with %v", err)
	}
	o.StartTime = time.Hour
	r := begin(t, o)
	for { // its socket is there soon; who detaches before takes the name for a moment
		if _, err := os.Stat(d.Socket("x")); errors.Is(err, fs.ErrNotExist) && pause.For(t.Context(), time.Millisecond) {
			continue
		}
		err := d.Detach(t.Context(), "x", false)
		if err == nil {
			break
		}
		if !errors.Is(err, san.ErrNotFound) && !errors.Is(err, san.ErrRefused) {
			t.Fatal(err)
		}
	}
	if err := <-r.ended; err != nil {
		t.Errorf("detached while it started: %v", err)
	}
	r = begin(t, o)
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Errorf("told to end: %v", err)
	}
	if got := left(t, d); !slices.Equal(got, []string{hostName}) {
		t.Errorf("left: %v", got)
	}
}

func TestStatusSocket(t *testing.T) {
	d := testDir(t)
	r := begin(t, quiet(d, "mem:16M").with(&disk{id: 7}, nil))
	<-r.ready
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.Socket("mem"))
	}}}
	get := func(method, path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for path, want := range map[string]int{
		"POST /detach?force=perhaps": 400, "POST /optimize": 400, "POST /optimize?group=99999": 400, "POST /optimize?group=1": 409,
		"GET /detach": 405, "GET /": 404,
	} {
		method, path, _ := strings.Cut(path, " ")
		if code, body := get(method, path); code != want {
			t.Errorf("%s %s: %d %s, want %d", method, path, code, body, want)
		}
	}
	code, body := get("GET", "/metrics")
	for _, want := range []string{
		`sango_attach_serving{attachment="mem"} 1`, `sango_attach_size_bytes{attachment="mem"} 1.6777216e+07`,
		`sango_attach_requests_total{attachment="mem",op="write-zeroes"} 0`, `sango_attach_latency_seconds_count{attachment="mem",op="read"} 0`,
		`sango_attach_queued{attachment="mem",class="read"} 0`,
	} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("metrics: %d, no %s", code, want)
		}
	}
	st, err := os.Stat(d.Socket("mem"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket is open to others: %v, %v", st.Mode(), err)
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// sick is a volume that can't be closed.
type sick struct{ block.Device }

func (s sick) Close() error { return errors.Join(s.Device.Close(), errors.New("the store is gone")) }

// A volume that fails to close ends the attachment all the same: its disk is
// gone.
func TestVolumeThatDoesNotClose(t *testing.T) {
	d := testDir(t)
	vol, err := parseMemory("16M")
	if err != nil {
		t.Fatal(err)
	}
	o := quiet(d, "volume:v")
	o.OpenVolume = func(context.Context, string, bool) (block.Device, error) {
		dev, err := newMemory(vol)
		return sick{dev}, err
	}
	for _, end := range []func(*run) error{
		func(*run) error { return d.Detach(t.Context(), "v", false) },
		func(r *run) error { r.cancel(); return errors.New("the store is gone") },
	} {
		r := begin(t, o.with(&disk{id: 7}, nil))
		<-r.ready
		if err := end(r); err == nil || !strings.Contains(err.Error(), "the store is gone") {
			t.Errorf("detach: %v", err)
		}
		if err := <-r.ended; err == nil || errors.Is(err, ErrLeft) || !strings.Contains(err.Error(), "the store is gone") {
			t.Errorf("ended with %v", err)
		}
		if _, ok, err := d.load("v"); ok || err != nil {
			t.Errorf("there is a state: %v, %v", ok, err)
		}
	}
}

// failing is a disk that fails by itself and is still there.
type failing struct{ *disk }

func (f failing) wait() error {
	<-f.stopped
	return fmt.Errorf("%w: the ring broke", ErrLeft)
}

// A disk that can't be served any more waits for the next process.
func TestDiskThatFails(t *testing.T) {
	d := testDir(t)
	vol, err := parseMemory("16M")
	if err != nil {
		t.Fatal(err)
	}
	o := quiet(d, "volume:v")
	o.OpenVolume = func(context.Context, string, bool) (block.Device, error) { return newMemory(vol) }
	front := &disk{id: 7}
	o = o.with(front, nil)
	o.start = func(context.Context, *Options, *State, block.Device, bool) (frontend, error) {
		return failing{front}, nil
	}
	r := begin(t, o)
	<-r.ready
	close(front.stopped)
	if err := <-r.ended; !errors.Is(err, ErrLeft) {
		t.Errorf("ended with %v", err)
	}
	if st, ok, err := d.load("v"); !ok || err != nil || st.Device != 7 {
		t.Errorf("state %+v, %v, %v", st, ok, err)
	}
}

// unfenced is a volume whose failed writes may still come.
type unfenced struct{ block.Device }

func (u unfenced) Close() error { return errors.Join(u.Device.Close(), multipath.ErrUnfenced) }

// An attachment that ends while the target may still execute writes of it
// leaves the name of its sessions for the next one.
func TestEndUnfenced(t *testing.T) {
	d := testDir(t)
	vol, err := parseMemory("16M")
	if err != nil {
		t.Fatal(err)
	}
	o := quiet(d, "volume:v")
	o.OpenVolume = func(context.Context, string, bool) (block.Device, error) {
		dev, err := newMemory(vol)
		return unfenced{dev}, err
	}
	r := begin(t, o.with(&disk{id: 7}, nil))
	<-r.ready
	before, _, err := d.load("v")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Detach(t.Context(), "v", false); err == nil || !strings.Contains(err.Error(), "may still be executed") {
		t.Errorf("detached: %v", err)
	}
	if err := <-r.ended; !errors.Is(err, multipath.ErrUnfenced) || errors.Is(err, ErrLeft) {
		t.Errorf("ended with %v", err)
	}
	after, ok, err := d.load("v")
	if !ok || err != nil || after.Group != before.Group || after.Device != noDevice {
		t.Errorf("state %+v, %v, %v", after, ok, err)
	}
	recovered := true
	o.OpenVolume = func(context.Context, string, bool) (block.Device, error) { return newMemory(vol) }
	r = begin(t, o.with(&disk{id: 1}, &recovered))
	<-r.ready
	next, _, err := d.load("v")
	if err != nil || recovered || next.Group != before.Group || next.Run != before.Run+1 {
		t.Errorf("state %+v, %v, recovered %v", next, err, recovered)
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// A disk that was taken over, and is in use, is not given up because its state
// can't be written: the one that is there leads to it.
func TestTakeOverWithoutRoom(t *testing.T) {
	d := testDir(t)
	vol, err := parseMemory("16M")
	if err != nil {
		t.Fatal(err)
	}
	o := quiet(d, "volume:v")
	o.OpenVolume = func(context.Context, string, bool) (block.Device, error) { return newMemory(vol) }
	busy := &disk{id: 7, busy: true}
	r := begin(t, o.with(busy, nil))
	<-r.ready
	r.cancel()
	if err := <-r.ended; !errors.Is(err, ErrLeft) {
		t.Fatalf("ended with %v", err)
	}
	close(busy.stopped)
	front := &disk{id: 7}
	o = o.with(front, nil)
	blocked := d.file("v", stateExt) + ".tmp"
	o.start = func(context.Context, *Options, *State, block.Device, bool) (frontend, error) {
		return front, os.Mkdir(blocked, 0o700)
	}
	r = begin(t, o)
	select {
	case <-r.ready:
	case err := <-r.ended:
		t.Fatalf("ended with %v, by force: %v", err, front.forced)
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// What an earlier process sent is not fenced while there is no path: the name
// of its sessions is given up by force alone.
func TestDetachBeforeTheFence(t *testing.T) {
	d := testDir(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // answers nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := quiet(d, "mem:1M")
	o.Name, o.Source = "x", Source{URLs: []initiator.URL{{Host: l.Addr().String(), Target: "iqn.2026-11.test:t"}}}
	o.StartTime = time.Hour
	before := State{Name: "x", Source: o.Source.String(), As: AsUblk, Group: 9, Run: 4, Device: noDevice}
	if err := d.save(&before); err != nil {
		t.Fatal(err)
	}
	r := begin(t, o)
	for { // its socket is there soon
		if st, err := d.Status(t.Context(), "x"); err == nil && st.Phase != PhaseDead {
			break
		}
	}
	if err := d.Detach(t.Context(), "x", false); err == nil {
		t.Error("detached")
	}
	if err := <-r.ended; err == nil {
		t.Error("ended without an error")
	}
	if st, ok, err := d.load("x"); !ok || err != nil || st.Group != 9 || st.Run != 5 {
		t.Errorf("state %+v, %v, %v", st, ok, err)
	}
}
