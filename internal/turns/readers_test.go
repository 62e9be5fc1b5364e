package turns

import "testing"

func TestOneProcessorHasNoneToSpareForSpinning(t *testing.T) {
	for n, want := range map[int]int32{1: -1, 2: 1, 4: 1, 8: 2, 64: 16} {
		if got := NewReaders(n).spare; got != want {
			t.Errorf("%d processors: %d", n, got)
		}
	}
	// Nor for one that notes its wait before it spins.
	if r := NewReaders(1).Reader(); r.MaySpin() {
		t.Error("a reader may spin on the only processor")
	}
}

// A reader counts as awake once, however often it says so.
func TestAwakeReadersAreCounted(t *testing.T) {
	of := NewReaders(2)
	a, b := of.Reader(), of.Reader()
	for _, step := range []struct {
		do   func() bool
		want bool
		n    int
	}{
		{a.Wait, false, 0},
		{a.Wake, true, 1},
		{a.Wake, false, 1},
		{b.Wake, true, 2},
		{a.Wait, true, 1},
		{a.Wait, false, 1},
		{b.Wait, true, 0},
	} {
		if got := step.do(); got != step.want || of.Awake() != step.n {
			t.Fatalf("%v, %d readers are awake; want %+v", got, of.Awake(), step)
		}
	}
}

// A reader spins the rarer the more often it did so in vain, and a modest one
// also the more often it might not because others work.
func TestSpinsInVainBecomeRare(t *testing.T) {
	of := NewReaders(2)
	of.Modest = true
	r, other := of.Reader(), of.Reader()
	r.Wake()
	for i, wait := range []int{0, 0, 1, 3, 7} {
		switch {
		case i%2 == 1:
			r.Spun(false)
		case i > 0:
			if other.Wake(); r.MaySpin() {
				t.Fatal("it spins while others work")
			}
			other.Wait()
		}
		for range wait {
			if r.MaySpin() {
				t.Fatalf("it spins again before %d waits", wait)
			}
		}
		if !r.MaySpin() {
			t.Errorf("it does not spin after %d waits", wait)
		}
	}
	for range 2 * maxMisses {
		r.Spun(false)
	}
	if r.skip != 1<<maxMisses-1 {
		t.Errorf("%d waits without a spin", r.skip)
	}
	r.skip = 0
	r.Spun(true)
	r.Spun(false)
	if !r.MaySpin() {
		t.Error("it does not spin after the first one in vain")
	}
	of.Modest = false
	if other.Wake(); r.MaySpin() {
		t.Fatal("it spins while others work")
	}
	if other.Wait(); r.misses != 1 || !r.MaySpin() {
		t.Error("it is modest")
	}
}

func TestLull(t *testing.T) {
	var l Lull
	wait := func(requests, want int) {
		t.Helper()
		for range requests {
			l.Came()
		}
		if got := l.Wait(); got != want || l.Waits() != want {
			t.Errorf("%d requests: %d waits, %d; want %d", requests, got, l.Waits(), want)
		}
	}
	wait(1, 1)
	wait(0, 2)
	wait(1, 3)
	wait(2, 0)
	wait(1, 1)
	l.End()
	wait(1, 1)
}
