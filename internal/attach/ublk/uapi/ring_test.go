package uapi

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func ring(t *testing.T, entries, flags uint32) *Ring {
	t.Helper()
	r, err := Setup(entries, flags)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("again: %v", err)
		}
	})
	return r
}

// await enters until n completions are there and returns them: result by user data.
func await(t *testing.T, r *Ring, n int) map[uint64]int32 {
	t.Helper()
	got := map[uint64]int32{}
	for len(got) < n {
		if err := r.Enter(1); err != nil {
			t.Fatal(err)
		}
		for {
			user, res, ok := r.Next()
			if !ok {
				break
			}
			if _, twice := got[user]; twice {
				t.Fatalf("%d completed twice", user)
			}
			got[user] = res
		}
	}
	return got
}

func TestNops(t *testing.T) {
	for _, flags := range []uint32{0, SetupSQE128, SetupCoopTaskrun | SetupSingleIssuer | SetupDeferTaskrun} {
		runtime.LockOSThread()
		r := ring(t, 8, flags)
		user := uint64(0)
		for range 100 { // around the rings several times
			for range 5 {
				user++
				if err := r.PutNop(user); err != nil {
					t.Fatal(err)
				}
			}
			for u, res := range await(t, r, 5) {
				if res != 0 || u+5 <= user || u > user {
					t.Fatalf("flags %#x: %d completed with %d", flags, u, res)
				}
			}
		}
		runtime.UnlockOSThread()
	}
}

func TestFullRingSaysSo(t *testing.T) {
	r := ring(t, 4, SetupSQE128)
	for i := range uint64(4) {
		if err := r.PutNop(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.PutNop(4); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	await(t, r, 4)
	if err := r.PutNop(4); err != nil {
		t.Fatal(err)
	}
	await(t, r, 1)
}

func TestEventWakesTheRing(t *testing.T) {
	r := ring(t, 4, 0)
	e, err := NewEvent()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := e.Put(r, 7); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 3 {
				if err := e.Wake(); err != nil {
					t.Error(err)
				}
			}
		})
		if got := await(t, r, 1); got[7] != 8 {
			t.Fatalf("%v", got)
		}
		wg.Wait()
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCancel(t *testing.T) {
	r := ring(t, 4, 0)
	e, err := NewEvent()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Put(r, 1); err != nil {
		t.Fatal(err)
	}
	if err := r.Enter(0); err != nil {
		t.Fatal(err)
	}
	if err := r.PutCancel(1, 2); err != nil {
		t.Fatal(err)
	}
	if got := await(t, r, 2); unix.Errno(-got[1]) != unix.ECANCELED || got[2] != 0 {
		t.Fatalf("%v", got)
	}
}

// A command to a file that takes none ends with EOPNOTSUPP: it got as far as the file, in SQEs of both sizes.
func TestCommandsArrive(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := ring(t, 4, SetupSQE128)
	if ok, err := r.HasCommands(); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	if err := r.UseFile(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := r.PutIO(IOFetch, IO{Queue: 1, Tag: 2, Addr: 3}, 1); err != nil {
		t.Fatal(err)
	}
	zero, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	if err := r.PutCtrl(int(zero.Fd()), CmdGetFeatures, Ctrl{DevID: AnyID, QueueID: NoQueue}, 2); err != nil {
		t.Fatal(err)
	}
	got := await(t, r, 2)
	if unix.Errno(-got[2]) != unix.EOPNOTSUPP {
		t.Errorf("%v", got)
	}
}

func TestCtrlNeedsLargeSubmissions(t *testing.T) {
	r := ring(t, 4, 0)
	if err := r.PutCtrl(0, CmdGetFeatures, Ctrl{}, 1); err == nil {
		t.Error("taken")
	}
}

func TestMapIsZeroedAndAligned(t *testing.T) {
	b, err := Map(100)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b {
		if c != 0 {
			t.Fatal("not zeroed")
		}
	}
	if Address(b)%uint64(os.Getpagesize()) != 0 {
		t.Errorf("at %#x", Address(b))
	}
	if err := Unmap(b); err != nil {
		t.Error(err)
	}
	if err := Unmap(nil); err != nil {
		t.Error(err)
	}
}

func TestPayloadHoldsWhatIsPut(t *testing.T) {
	p, err := NewPayload()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	*p.DevInfo() = DevInfo{Queues: 3, Flags: 1 << 40}
	if p.DevInfo().Queues != 3 || p.DevInfo().Flags != 1<<40 || p.Address() == 0 {
		t.Errorf("%+v", p.DevInfo())
	}
	*p.Params() = Params{Len: 64}
	*p.Features() = 5
	if p.Params().Len != 5 {
		t.Error("the payload is not one memory")
	}
}
