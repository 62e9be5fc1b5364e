package nbdserver

import (
	"testing"

	"sango/internal/block"
	"sango/internal/block/layer/delay"
	"sango/internal/block/mem"
	"sango/internal/nbd"
)

// TestMemoryAndDepthAreBounded: what a connection may hold is all it gets,
// however much its client asks for; the rest waits in the socket.
func TestMemoryAndDepthAreBounded(t *testing.T) {
	for name, o := range map[string]Options{
		"memory": {MaxRequest: 1 << 20, ConnMemory: 4 << 20, Depth: 64},
		"depth":  {MaxRequest: 1 << 20, ConnMemory: 64 << 20, Depth: 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, o)
			d := delay.New(memory(t, mem.Options{}), delay.Options{})
			w.add("", block.Check(d, t), ExportOptions{})
			c := w.simple("")
			d.Hold(block.OpRead)
			const requests, allowed, size = 40, 4, 1 << 20
			for range requests {
				c.send(nbd.CmdRead, 0, 0, size, nil)
			}
			for range allowed {
				wait(t, d.Arrived(), "read at the device")
			}
			w.s.mu.Lock()
			for conn := range w.s.conns {
				conn.mu.Lock()
				if conn.inflight != allowed || conn.memory != allowed*size || d.Held() != allowed {
					t.Errorf("%d requests and %d bytes are under way, %d at the device", conn.inflight, conn.memory, d.Held())
				}
				conn.mu.Unlock()
			}
			w.s.mu.Unlock()
			d.Release()
			for range requests {
				if a := c.receive(0, size); a.errno != 0 {
					t.Fatal(a.errno)
				}
			}
		})
	}
}
