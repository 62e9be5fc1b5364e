package target

import (
	"fmt"
	"io"
	"testing"
	"time"

	"sango/internal/iscsi"
)

// BenchmarkCommands keeps a number of commands in flight on one session over
// loopback, on a volume in memory: what the engine itself costs.
func BenchmarkCommands(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		for _, depth := range []int{1, 32} {
			blocks := size / 512
			for _, c := range []struct {
				name  string
				c     command
				reply int
			}{
				{"read", command{cdb: read10(0, blocks), read: true, expected: uint32(size)}, iscsi.BHSLen + size},
				{"write", command{cdb: write10(0, blocks), write: true, expected: uint32(size), data: make([]byte, size)}, iscsi.BHSLen},
			} {
				b.Run(fmt.Sprintf("%s/size=%dk/depth=%d", c.name, size>>10, depth), func(b *testing.B) {
					s := start(b, func(c *Config, _ *directory) { c.NopInterval = time.Hour })
					i := connect(b, s, iscsi.Pair{Key: iscsi.KeyMaxRecvSegment, Value: "262144"})
					i.ready()
					r := newRound(i, c.c, depth, c.reply)
					b.SetBytes(int64(size))
					b.ReportAllocs()
					b.ResetTimer()
					for n := 0; n < b.N; n += depth {
						r.run(b)
					}
				})
			}
		}
	}
}

// round is a number of equal commands that are sent at once, over and over.
type round struct {
	i       *initiator
	pdus    []byte
	headers []int // offsets in pdus
	replies []byte
}

// newRound makes depth commands of c, each of which is answered by reply bytes.
func newRound(i *initiator, c command, depth, reply int) *round {
	r := &round{i: i, replies: make([]byte, depth*reply)}
	for range depth {
		h := i.commandHeader(c)
		i.cmdSN--
		r.headers = append(r.headers, len(r.pdus))
		r.pdus = append(r.pdus, i.wire(&h, c.data)...)
	}
	return r
}

// run sends the commands and waits for all the answers.
func (r *round) run(t testing.TB) {
	for n, o := range r.headers {
		put32(r.pdus[o+16:], uint32(n+1))
		put32(r.pdus[o+24:], uint32(r.i.cmdSN))
		r.i.cmdSN++
	}
	if _, err := r.i.nc.Write(r.pdus); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.i.nc, r.replies); err != nil {
		t.Fatal(err)
	}
}

func put32(b []byte, v uint32) {
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}
