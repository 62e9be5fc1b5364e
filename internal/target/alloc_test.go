//go:build !race

// Under the race detector sync.Pool forgets at random.

package target

import (
	"runtime"
	"testing"
	"time"

	"sango/internal/iscsi"
)

// A command costs no allocation once the pools are warm (DESIGN §7): the
// garbage collector has no work from the data path.
func TestNoAllocationPerCommand(t *testing.T) {
	const rounds, depth = 200, 32
	for _, digest := range []string{"None", "CRC32C"} {
		s := start(t, func(c *Config, _ *directory) { c.NopInterval = time.Hour }) // no ping among the replies
		i := connect(t, s, iscsi.Pair{Key: iscsi.KeyDataDigest, Value: digest})
		i.ready()
		sum := 0
		if i.dd {
			sum = iscsi.DigestLen
		}
		for _, c := range []struct {
			name  string
			c     command
			reply int // bytes on the wire
		}{
			{"read", command{cdb: read10(0, 8), read: true, expected: 4096}, iscsi.BHSLen + 4096 + sum},
			{"write with immediate data", command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)}, iscsi.BHSLen},
		} {
			r := newRound(i, c.c, depth, c.reply)
			for range rounds {
				r.run(t)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range rounds {
				r.run(t)
			}
			runtime.ReadMemStats(&after)
			if per := float64(after.Mallocs-before.Mallocs) / (rounds * depth); per > 0.1 {
				t.Errorf("%s, data digest %s: %.2f allocations a command", c.name, digest, per)
			}
		}
	}
}
