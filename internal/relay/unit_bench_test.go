//go:build !race

package relay

import (
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"sango/internal/lun"
	"sango/internal/scsi"
)

// reader keeps depth reads of a session under way.
type reader struct {
	s     *session
	tasks []*lun.Task
	size  int
	n     uint32
}

func (r *reader) send(t *lun.Task) {
	t.Reset()
	r.s.tag++
	r.n++
	blocks := uint32(r.size / 512)
	t.Tag, t.Read, t.Expected, t.Arrival = r.s.tag, true, uint32(r.size), time.Now()
	t.CDB[0] = byte(scsi.OpRead10)
	binary.BigEndian.PutUint32(t.CDB[2:], r.n*blocks%(64<<20/512-blocks))
	binary.BigEndian.PutUint16(t.CDB[7:], uint16(blocks))
	r.s.nexus.Admit(t)
}

func (r *reader) run(n int) {
	under := 0
	for _, t := range r.tasks[:min(n, len(r.tasks))] {
		r.send(t)
		n--
		under++
	}
	for under > 0 {
		t := <-r.s.ended
		if t.Status != scsi.Good || t.In.Len() != r.size {
			panic(t.Status.String())
		}
		if n > 0 {
			r.send(t)
			n--
		} else {
			under--
		}
	}
}

// reads returns a reader through member i of two, of which 0 owns the volume.
func reads(t testing.TB, a *authority, i, size, depth int) *reader {
	w := newTwins(t, connected(t), func(c *Config) {
		if a != nil {
			c.TLS = a.config([]string{string(c.Self.Gateway)})
		}
	})
	s := w.members[i].login(t, 1)
	for {
		if _, ok := s.read(0); ok {
			break
		}
	}
	r := &reader{s: s, size: size}
	for range depth {
		r.tasks = append(r.tasks, new(lun.Task))
	}
	r.run(1000)
	return r
}

// Device servers at both ends add nothing to what a command allocates.
func TestUnitAlloc(t *testing.T) {
	r := reads(t, nil, 1, 4<<10, 32)
	runtime.GC()
	r.run(1000)
	if n := testing.AllocsPerRun(5, func() { r.run(2000) }); n > 2000*0.05 {
		t.Errorf("%v allocations for 2000 commands", n)
	}
}

func BenchmarkUnit(b *testing.B) {
	for _, c := range []struct {
		name        string
		size, depth int
	}{
		{"op=read/size=4k/depth=1", 4 << 10, 1},
		{"op=read/size=4k/depth=32", 4 << 10, 32},
		{"op=read/size=64k/depth=16", 64 << 10, 16},
	} {
		for _, over := range []string{"none", "tcp", "tls"} {
			b.Run(c.name+"/over="+over, func(b *testing.B) {
				var a *authority
				i := 1
				switch over {
				case "none":
					i = 0
				case "tls":
					a = newAuthority(b)
				}
				r := reads(b, a, i, c.size, c.depth)
				b.ReportAllocs()
				b.SetBytes(int64(c.size))
				b.ResetTimer()
				r.run(b.N)
			})
		}
	}
}
