package relay

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/relay/wire"
)

// A gateway of another time, which takes no link of ours, is there all the same:
// nobody suspects it.
func TestPeerWithoutACommonVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		front := newGateway(t, memberA, func(c *Config) {
			c.Links = 1
			c.Dial = func(context.Context, string) (net.Conn, error) {
				a, b := net.Pipe()
				asked.Add(1)
				go func() {
					defer b.Close()
					var head [wire.HeaderLen]byte
					if _, err := io.ReadFull(b, head[:]); err != nil {
						return
					}
					h, err := wire.ParseHeader(head[:])
					if err != nil {
						return
					}
					if _, err := io.ReadFull(b, make([]byte, h.Body)); err != nil {
						return
					}
					_, _ = b.Write((&wire.Refused{Reason: wire.ReasonVersion, Text: "of another time"}).Append(nil))
				}()
				return a, nil
			}
		})
		front.node.SetPeers([]Peer{{Member: memberB, Addr: "b:1"}})
		pass(time.Minute)
		front.mu.Lock()
		defer front.mu.Unlock()
		if len(front.lost) > 0 {
			t.Errorf("suspected %d times", len(front.lost))
		}
		if n := asked.Load(); n < 10 {
			t.Errorf("asked %d times", n)
		}
	})
}

// Who offers no version that is spoken here is told which are.
func TestHelloWithoutACommonVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner := newGateway(t, memberB, nil)
		f := connectRaw(t, owner)
		h := hello(owner, memberA, 0)
		h.Min, h.Max = wire.MaxVersion+1, wire.MaxVersion+3
		f.write(h.Append(nil))
		r, err := wire.ParseRefused(f.next(wire.TypeRefused).body)
		if err != nil || r.Reason != wire.ReasonVersion || r.Text != "versions 1 to 1 of the relay protocol are spoken here; 2 to 4 were offered: upgrade the older gateway to a version that speaks one of each" {
			t.Errorf("%+v, %v", r, err)
		}
		f.expectClosed()
	})
}
