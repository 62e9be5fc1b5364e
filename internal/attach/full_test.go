package attach

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/block"
	"sango/internal/block/layer/stats"
	"sango/internal/block/mem"
)

// A full store is in the log once.
func TestFullStoreIsInTheLog(t *testing.T) {
	m, err := mem.New(mem.Options{Size: 1 << 20, Limit: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	dev := stats.New(m)
	dev.OnFull(newFullNote(slog.New(slog.NewTextHandler(&log, nil))).found)
	write := func(off int64) error { return block.WriteAt(dev, make([]byte, 512), off, 0) }
	if err := write(0); err != nil || log.Len() > 0 {
		t.Fatal(err, log.String())
	}
	for range 3 {
		if err := write(512 << 10); block.ClassOf(err) != block.NoSpace {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "is full"); n != 1 || !strings.Contains(log.String(), "free space") {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

// It is there again only after a while.
func TestFullStoreIsSeldomInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := newFullNote(slog.New(slog.NewTextHandler(&log, nil)))
		for i, want := range []int{1, 1, 2} {
			n.found()
			if got := strings.Count(log.String(), "is full"); got != want {
				t.Errorf("%d: %d lines, want %d", i, got, want)
			}
			<-time.After(fullPause/2 + time.Second)
		}
	})
}
