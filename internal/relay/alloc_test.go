//go:build !race

// Under the race detector sync.Pool forgets at random.

package relay

import (
	"runtime"
	"testing"
	"time"

	"sango/internal/bufpool"
	"sango/internal/lun"
	"sango/internal/scsi"
)

// loop sends commands one after the other, with depth of them under way, by
// which neither side allocates.
type loop struct {
	h     *host
	tasks []*lun.Task
	data  []byte
	write bool
	ended chan *lun.Task
}

func newLoop(h *host, depth, size int, write bool) *loop {
	l := &loop{h: h, data: make([]byte, size), write: write, ended: make(chan *lun.Task, depth)}
	for range depth {
		t := new(lun.Task)
		t.User = &sent{h, func(t *lun.Task, _ lun.Outcome) { l.ended <- t }, !write}
		l.tasks = append(l.tasks, t)
	}
	return l
}

func (l *loop) send(t *lun.Task) {
	u := t.User
	t.Reset()
	l.h.calls++
	t.User, t.Call, t.Arrival, t.Expected = u, l.h.calls, time.Now(), uint32(len(l.data))
	if t.Read, t.Write = !l.write, l.write; l.write {
		t.Out.Grow(len(l.data))
	}
	l.h.vol.Forward(t)
}

// run sends n commands.
func (l *loop) run(n int) {
	under := 0
	for _, t := range l.tasks[:min(n, len(l.tasks))] {
		l.send(t)
		n--
		under++
	}
	for under > 0 {
		t := <-l.ended
		if t.Status != scsi.Good {
			panic(t.Status.String())
		}
		if n > 0 {
			l.send(t)
			n--
		} else {
			under--
		}
	}
}

// memory makes the unit answer reads of size bytes at once.
func (u *fakeUnit) memory(size int) {
	u.set(func(r *fakeRemote, k *lun.Task) {
		if k.Read {
			k.In.Append(bufpool.Get(size))
		}
		delete(r.tasks, k.Call)
		k.Want = uint64(size)
		r.tr.TaskDone(k)
	})
}

// A command allocates nothing on either side, and what carries it next to
// nothing.
func TestAlloc(t *testing.T) {
	a := newAuthority(t)
	for name, secure := range map[string]bool{"tcp": false, "tls": true} {
		for _, w := range []bool{false, true} {
			for _, size := range []int{4 << 10, 64 << 10} {
				owner := newGateway(t, memberB, func(c *Config) {
					if secure {
						c.TLS = a.config([]string{"b"})
					}
				})
				front := newGateway(t, memberA, func(c *Config) {
					if secure {
						c.TLS = a.config([]string{"a"})
					}
				})
				front.node.SetPeers([]Peer{owner.listen()})
				front.wait(func() bool { return len(front.found) > 0 })
				owner.unit.memory(size)
				v := front.node.Volume(testVolume, 7, memberB)
				h := front.host(v, 1)
				front.settled(v)
				l := newLoop(h, 32, size, w)
				l.run(2000)
				runtime.GC()
				l.run(1000)
				// Both sides together; heartbeats, and pools that the collector has
				// emptied, are some. crypto/tls makes one of 24 bytes for a record or two
				// that it reads.
				most := 2000 * 0.05
				if secure {
					most += 2000 * float64(1+size/recordMax)
				}
				if n := testing.AllocsPerRun(5, func() { l.run(2000) }); n > most {
					t.Errorf("%s, write %v, %d bytes: %v allocations for 2000 commands", name, w, size, n)
				}
			}
		}
	}
}

func benchmark(b *testing.B, secure, write bool, size, depth int) {
	a := newAuthority(b)
	owner := newGateway(b, memberB, func(c *Config) {
		if secure {
			c.TLS = a.config([]string{"b"}, "127.0.0.1")
		}
	})
	front := newGateway(b, memberA, func(c *Config) {
		if secure {
			c.TLS = a.config([]string{"a"})
		}
	})
	front.node.SetPeers([]Peer{owner.listen()})
	front.wait(func() bool { return len(front.found) > 0 })
	owner.unit.memory(size)
	v := front.node.Volume(testVolume, 7, memberB)
	h := front.host(v, 1)
	front.settled(v)
	l := newLoop(h, depth, size, write)
	l.run(1000)
	b.ReportAllocs()
	b.SetBytes(int64(size))
	b.ResetTimer()
	l.run(b.N)
}

func BenchmarkRelay(b *testing.B) {
	for _, c := range []struct {
		name        string
		write       bool
		size, depth int
	}{
		{"op=read/size=4k/depth=1", false, 4 << 10, 1},
		{"op=read/size=4k/depth=32", false, 4 << 10, 32},
		{"op=write/size=4k/depth=32", true, 4 << 10, 32},
		{"op=read/size=64k/depth=16", false, 64 << 10, 16},
		{"op=write/size=64k/depth=16", true, 64 << 10, 16},
	} {
		b.Run("over=tcp/"+c.name, func(b *testing.B) { benchmark(b, false, c.write, c.size, c.depth) })
		b.Run("over=tls/"+c.name, func(b *testing.B) { benchmark(b, true, c.write, c.size, c.depth) })
	}
}
