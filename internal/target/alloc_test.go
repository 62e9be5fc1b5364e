//go:build !race

// Under the race detector sync.Pool forgets at random.

package target

import (
	"io"
	"runtime"
	"testing"
	"time"

	"sango/internal/iscsi"
)

// A command costs no allocation once the pools are warm (DESIGN §7): the
// garbage collector has no work from the data path.
func TestNoAllocationPerCommand(t *testing.T) {
	const rounds, depth = 200, 32
	s := start(t, func(c *Config, _ *directory) { c.NopInterval = time.Hour }) // no ping among the replies
	i := connect(t, s)
	i.ready()
	for _, c := range []struct {
		name  string
		c     command
		reply int // bytes on the wire
	}{
		{"read", command{cdb: read10(0, 8), read: true, expected: 4096}, iscsi.BHSLen + 4096},
		{"write with immediate data", command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)}, iscsi.BHSLen},
	} {
		var pdus []byte
		var at []int // offsets of the headers
		for range depth {
			h := i.commandHeader(c.c)
			i.cmdSN--
			at = append(at, len(pdus))
			pdus = append(pdus, i.wire(&h, c.c.data)...)
		}
		replies := make([]byte, depth*c.reply)
		round := func() {
			for n, o := range at {
				h := (*iscsi.BHS)(pdus[o:])
				put32(h[16:], uint32(n+1))
				put32(h[24:], uint32(i.cmdSN))
				i.cmdSN++
			}
			if _, err := i.nc.Write(pdus); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(i.nc, replies); err != nil {
				t.Fatal(err)
			}
		}
		for range rounds {
			round()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			round()
		}
		runtime.ReadMemStats(&after)
		per := float64(after.Mallocs-before.Mallocs) / (rounds * depth)
		t.Logf("%s: %.3f allocations a command", c.name, per)
		if per > 0.1 {
			t.Errorf("%s: %.2f allocations a command", c.name, per)
		}
	}
}

func put32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}
