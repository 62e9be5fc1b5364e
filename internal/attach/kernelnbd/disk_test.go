package kernelnbd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/block/mem"
)

const diskSize = 1 << 20

func memory(t *testing.T) *mem.Device {
	t.Helper()
	d, err := mem.New(mem.Options{Size: diskSize, BlockSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func start(t *testing.T, k *kernel, dev block.Device, o Options) *Disk {
	t.Helper()
	o.driver, o.Logger = k, slog.New(slog.DiscardHandler)
	d, err := Start(context.Background(), dev, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func stop(t *testing.T, d *Disk) {
	t.Helper()
	if err := d.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if err := d.Wait(); err != nil {
		t.Error(err)
	}
}

func TestDisk(t *testing.T) {
	k := newKernel(t)
	d := start(t, k, block.Check(memory(t), t), Options{Index: Any, Connections: 3, Backend: "v"})
	if d.ID() != fakeIndex || len(k.socks) != 3 {
		t.Fatalf("disk %d with %d connections", d.ID(), len(k.socks))
	}
	c := k.cfg
	if c.size != diskSize || c.blockSize != 512 || c.timeout != 3 || c.deadTimeout != 3600 || c.backend != "v" {
		t.Errorf("%+v", c)
	}
	// HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN and nothing that the
	// driver doesn't know.
	if c.flags != 0x16d {
		t.Errorf("flags are %#x", c.flags)
	}
	if c.client != clientDestroy {
		t.Error("the node that was made for the disk stays")
	}
	for i := range 3 {
		p := bytes.Repeat([]byte{byte(i + 1)}, 4096)
		if err := k.do(i, 1, int64(i)*4096, p); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4096)
		if err := k.do((i+1)%3, 0, int64(i)*4096, got); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("read through another connection: %v", err)
		}
	}
	if err := k.do(0, 3, 0, nil); err != nil {
		t.Errorf("flush: %v", err)
	}
	if up, err := d.Connected(context.Background()); !up || err != nil {
		t.Errorf("connected %v, %v", up, err)
	}
	stop(t, d)
	if k.up {
		t.Error("the disk is still there")
	}
	stop(t, d)
}

func TestReadOnly(t *testing.T) {
	k := newKernel(t)
	d := start(t, k, memory(t), Options{Index: 1 << 19, ReadOnly: true})
	if k.cfg.flags&2 == 0 || k.cfg.flags&0x68 != 0 {
		t.Errorf("flags are %#x", k.cfg.flags)
	}
	if err := k.do(0, 1, 0, make([]byte, 512)); !errors.Is(err, unix.EPERM) {
		t.Errorf("write: %v", err)
	}
	stop(t, d)
}

func TestResize(t *testing.T) {
	k := newKernel(t)
	m := memory(t)
	d := start(t, k, m, Options{Index: Any, Backend: "v"})
	if err := m.Resize(2 * diskSize); err != nil {
		t.Fatal(err)
	}
	if err := d.Resize(2 * diskSize); err != nil || k.cfg.size != 2*diskSize {
		t.Errorf("size %d, %v", k.cfg.size, err)
	}
	if err := k.do(0, 1, 2*diskSize-512, make([]byte, 512)); err != nil {
		t.Errorf("write to the new end: %v", err)
	}
	for _, bad := range []int64{0, -512, 513} {
		if d.Resize(bad) == nil {
			t.Errorf("a size of %d is accepted", bad)
		}
	}
	stop(t, d)
}

// A connection that dies on either side is replaced, and the disk goes on.
func TestConnectionIsReplaced(t *testing.T) {
	k := newKernel(t)
	d := start(t, k, memory(t), Options{Index: Any, Connections: 2})
	k.kill(1) // the kernel's side
	<-k.taken
	if err := k.do(1, 1, 0, bytes.Repeat([]byte{5}, 512)); err != nil {
		t.Fatal(err)
	}
	if _, err := k.socks[0].Write(make([]byte, 28)); err != nil { // no request: the server ends it
		t.Fatal(err)
	}
	k.buried(0)
	<-k.taken
	got := make([]byte, 512)
	if err := k.do(0, 0, 0, got); err != nil || got[0] != 5 {
		t.Fatalf("%v, %d", err, got[0])
	}
	if d.Replaced() != 2 {
		t.Errorf("%d were replaced", d.Replaced())
	}
	stop(t, d)
}

// A connection is replaced only when the device has ended what came through
// it: requests do not pile up while the device stands still.
func TestReplacementWaitsForDevice(t *testing.T) {
	k := newKernel(t)
	slow := delay.New(memory(t), delay.Options{})
	d := start(t, k, slow, Options{Index: Any, Connections: 1})
	slow.Hold(block.OpWrite)
	if _, err := k.socks[0].Write(append(request(1, 0, 512), make([]byte, 512)...)); err != nil {
		t.Fatal(err)
	}
	<-slow.Arrived()
	k.kill(0)
	if len(k.taken) != 0 {
		t.Error("a new connection came while the device holds requests of the old one")
	}
	slow.Release()
	<-k.taken
	stop(t, d)
}

// Another process takes over a disk that was abandoned, or whose process died.
func TestRecover(t *testing.T) {
	k := newKernel(t)
	m := memory(t)
	first := start(t, k, m, Options{Index: Any, Connections: 2, Backend: "v"})
	if err := k.do(0, 1, 512, bytes.Repeat([]byte{3}, 512)); err != nil {
		t.Fatal(err)
	}
	first.Abandon()
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	k.buried(0)
	k.buried(1)
	o := Options{Index: fakeIndex, Connections: 2, Backend: "other", Recover: true, driver: k}
	if _, err := Start(context.Background(), m, o); err == nil {
		t.Error("a disk of another backend was taken over")
	}
	second := start(t, k, m, Options{Index: fakeIndex, Connections: 2, Backend: "v", Recover: true})
	for i := range 2 {
		got := make([]byte, 512)
		if err := k.do(i, 0, 512, got); err != nil || got[0] != 3 {
			t.Errorf("connection %d: %v, %d", i, err, got[0])
		}
	}
	stop(t, second)
	if _, err := Start(context.Background(), m, Options{Index: fakeIndex, Recover: true, driver: k}); err == nil {
		t.Error("a disk that is not connected was recovered")
	}
}

// The new process may be there before the kernel has noticed the death of the
// old one's connections: then its sockets are sent back, and it tries again.
func TestRecoverEarly(t *testing.T) {
	k := newKernel(t)
	m := memory(t)
	first := start(t, k, m, Options{Index: Any, Connections: 2, Backend: "v"})
	first.Abandon()
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	second := start(t, k, m, Options{Index: fakeIndex, Connections: 2, Backend: "v", Recover: true})
	k.buried(0)
	k.buried(1)
	<-k.taken
	<-k.taken
	for i := range 2 {
		if err := k.do(i, 0, 0, make([]byte, 512)); err != nil {
			t.Error(err)
		}
	}
	stop(t, second)
}

// When somebody else disconnects the disk, Wait says so.
func TestDisconnectedByOthers(t *testing.T) {
	k := newKernel(t)
	d := start(t, k, memory(t), Options{Index: Any})
	k.disconnectAll(true)
	if err := d.Wait(); err == nil {
		t.Error("the disk ended without a reason")
	}
	stop2 := d.Stop(context.Background())
	if stop2 != nil {
		t.Error(stop2)
	}
}

func TestStartFails(t *testing.T) {
	k := newKernel(t)
	d := start(t, k, memory(t), Options{Index: Any})
	if _, err := Start(context.Background(), memory(t), Options{Index: fakeIndex, driver: k}); !errors.Is(err, unix.EBUSY) {
		t.Errorf("the disk is in use: %v", err)
	}
	stop(t, d)
}
