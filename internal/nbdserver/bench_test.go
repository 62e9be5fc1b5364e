package nbdserver

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"sango/internal/block/mem"
	"sango/internal/nbd"
)

// exchange sends requests together and reads their replies.
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

// BenchmarkServe sends so many requests together over a unix socket, on a
// volume in memory.
func BenchmarkServe(b *testing.B) {
	for _, cmd := range []nbd.Cmd{nbd.CmdRead, nbd.CmdWrite} {
		for _, c := range []struct{ size, depth int }{{4 << 10, 1}, {4 << 10, 32}, {64 << 10, 1}, {64 << 10, 16}, {1 << 20, 1}, {1 << 20, 8}} {
			b.Run(fmt.Sprintf("op=%s/size=%dk/depth=%d", strings.ToLower(cmd.String()), c.size>>10, c.depth), func(b *testing.B) {
				w := serve(b, Options{})
				w.add("", memory(b, mem.Options{}), ExportOptions{})
				client := w.simple("")
				out, reply := batch(cmd, c.depth, c.size)
				in := make([]byte, reply)
				b.SetBytes(int64(c.size))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%c.depth == 0 {
						exchange(b, client.nc, out, in)
					}
				}
				_ = client.nc.Close()
			})
		}
	}
}

// TestSteadyStateAllocatesNothing counts the allocations of a thousand requests
// that go through a connection, client and server together.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	for _, cmd := range []nbd.Cmd{nbd.CmdRead, nbd.CmdWrite} {
		for _, size := range []int{4 << 10, 64 << 10} {
			w := serve(t, Options{})
			w.add("", memory(t, mem.Options{}), ExportOptions{})
			c := w.simple("")
			out, reply := batch(cmd, 32, size)
			in := make([]byte, reply)
			talk := func() {
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = c.nc.Write(out)
				}()
				if _, err := io.ReadFull(c.nc, in); err != nil {
					t.Fatal(err)
				}
				<-sent
			}
			for range 10 {
				talk()
			}
			n := testing.AllocsPerRun(30, talk)
			if n > 6 && !raceEnabled { // the channel and the goroutine of talk among them
				t.Errorf("%v allocations for 32 requests of %d bytes (%s)", n, size, cmd)
			}
		}
	}
}
