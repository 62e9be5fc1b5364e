package nbdserver

import (
	"fmt"
	"io"
	"net"
	"testing"

	"sango/internal/block/mem"
	"sango/internal/nbd"
)

// exchange sends depth requests together and reads their replies, n times.
func exchange(tb testing.TB, nc net.Conn, out, in []byte) {
	if _, err := nc.Write(out); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(nc, in); err != nil {
		tb.Fatal(err)
	}
}

// batch returns depth requests and the length of their simple replies.
func batch(cmd nbd.Cmd, depth, size int) (out []byte, reply int) {
	for i := range depth {
		out = nbd.Request{Cmd: cmd, Cookie: uint64(i), Offset: uint64(i * size), Length: uint32(size)}.Append(out)
		reply += nbd.SimpleReplyLen
		if cmd == nbd.CmdWrite {
			out = append(out, pattern(size, 1)...)
		} else {
			reply += size
		}
	}
	return out, reply
}

func BenchmarkServe(b *testing.B) {
	for _, cmd := range []nbd.Cmd{nbd.CmdRead, nbd.CmdWrite} {
		for _, depth := range []int{1, 32} {
			for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
				if depth*size > 8<<20 {
					continue
				}
				b.Run(fmt.Sprintf("%s/%dk/depth=%d", cmd, size>>10, depth), func(b *testing.B) {
					w := serve(b, Options{})
					w.add("", memory(b, mem.Options{}), ExportOptions{})
					c := w.simple("")
					out, reply := batch(cmd, depth, size)
					in := make([]byte, reply)
					b.SetBytes(int64(depth * size))
					b.ReportAllocs()
					for b.Loop() {
						exchange(b, c.nc, out, in)
					}
					_ = c.nc.Close()
				})
			}
		}
	}
}

// TestSteadyStateAllocatesNothing counts the allocations of a thousand requests
// that go through a connection, client and server together.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, cmd := range []nbd.Cmd{nbd.CmdRead, nbd.CmdWrite} {
		w := serve(t, Options{})
		w.add("", memory(t, mem.Options{}), ExportOptions{})
		c := w.simple("")
		out, reply := batch(cmd, 32, 4096)
		in := make([]byte, reply)
		for range 10 {
			exchange(t, c.nc, out, in)
		}
		n := testing.AllocsPerRun(30, func() { exchange(t, c.nc, out, in) })
		if n > 4 && !raceEnabled {
			t.Errorf("%v allocations for 32 requests (%s)", n, cmd)
		}
	}
}
