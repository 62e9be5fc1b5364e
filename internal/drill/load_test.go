package drill

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
)

// forgetful acknowledges writes to the first block that it does not do.
type forgetful struct {
	block.Device
	count  atomic.Int64
	at     int64 // from which write on
	forgot atomic.Bool
}

func (d *forgetful) Submit(r *block.Request) {
	if r.Op == block.OpWrite && d.count.Add(1) >= d.at && r.Off == 0 {
		d.forgot.Store(true)
		r.Done(r)
		return
	}
	d.Device.Submit(r)
}

// play writes until enough, and reads back.
func play(t *testing.T, dev block.Device, enough func(l *Load) bool) (Verdict, Counts) {
	t.Helper()
	l := NewLoad(dev, 64, 8, 1)
	l.Start()
	for !enough(l) {
		<-time.After(time.Millisecond)
	}
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	v, err := l.Verify()
	if err != nil {
		t.Fatal(err)
	}
	return v, l.Counts()
}

func TestLoadIsAllThere(t *testing.T) {
	v, n := play(t, memory(t), func(l *Load) bool { return l.Counts().Writes > 5000 })
	if v.Blocks == 0 || v.Lost != 0 || n.Gap <= 0 || n.Slowest <= 0 {
		t.Errorf("%+v after %+v", v, n)
	}
}

func TestLoadMissesWhatIsLost(t *testing.T) {
	d := &forgetful{Device: memory(t), at: 2000}
	v, _ := play(t, d, func(*Load) bool { return d.forgot.Load() })
	if v.Lost != 1 || !strings.Contains(v.First, "block 0: write ") {
		t.Errorf("%+v", v)
	}
}

func memory(t *testing.T) block.Device {
	t.Helper()
	d, err := mem.New(mem.Options{Size: 1 << 20, BlockSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}
