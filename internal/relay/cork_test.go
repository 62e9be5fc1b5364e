package relay

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/scsi"
)

// rawOwner is an owner that a test plays: it welcomes the front.
func rawOwner(t *testing.T) (*raw, *gateway) {
	a, b := net.Pipe()
	front := newGateway(t, memberA, func(c *Config) {
		c.Links = 1
		c.Dial = func(context.Context, string) (net.Conn, error) { return a, nil }
	})
	f := &raw{t: t, conn: b}
	f.more.L = &f.mu
	go f.receive()
	t.Cleanup(func() { _ = b.Close() })
	front.node.SetPeers([]Peer{{Member: memberB, Addr: "b:1"}})
	f.next(wire.TypeHello)
	f.write((&wire.Welcome{Version: wire.MaxVersion, MaxAge: 3000, Stamp: 1, Commands: 64, Bytes: 64 << 20, Nexuses: 16}).Append(nil))
	front.wait(func() bool { return len(front.found) > 0 })
	return f, front
}

// join is a host whose nexus the owner has opened.
func (f *raw) join(front *gateway, v *Volume, isid byte) *host {
	f.t.Helper()
	h := front.host(v, isid)
	o, err := wire.ParseNexusOpen(f.next(wire.TypeNexusOpen).body)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write((&wire.NexusOpened{Handle: o.Handle, Commands: 32, Bytes: 32 << 20}).Append(nil))
	return h
}

// answer returns the answer to the command that comes next, with size bytes of
// data.
func (f *raw) answer(size int) []byte {
	f.t.Helper()
	c, err := wire.ParseCommand(f.next(wire.TypeCommand).body)
	if err != nil {
		f.t.Fatal(err)
	}
	r := wire.Response{Tag: c.Tag, Status: uint8(scsi.Good), Want: uint64(size), In: uint32(size)}
	b := make([]byte, r.Len()+size)
	r.Put(b, size)
	return b
}

// What one read has brought goes to its hosts together, each host by itself;
// what comes last at once.
func TestAnswersGoTogether(t *testing.T) {
	type answer struct{ host, size int }
	for _, c := range []struct {
		answers []answer
		want    [2][]string // of each host
	}{
		{[]answer{{0, 512}}, [2][]string{{"end"}}},
		{[]answer{{0, 512}, {0, 0}, {0, 4096}}, [2][]string{{"cork", "end", "end", "end", "uncork"}}},
		{[]answer{{0, 512}, {1, 512}, {0, 0}}, [2][]string{{"cork", "end", "end", "uncork"}, {"cork", "end", "uncork"}}},
		{[]answer{{0, 512}, {1, 512}}, [2][]string{{"cork", "end", "uncork"}, {"end"}}},
		{[]answer{{0, bulkSize}, {0, 0}}, [2][]string{{"cork", "end", "end", "uncork"}}},
		{[]answer{{0, 0}, {0, bulkSize}}, [2][]string{{"cork", "end", "end", "uncork"}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, front := rawOwner(t)
			v := front.node.Volume(testVolume, 7, memberB)
			hosts := [2]*host{f.join(front, v, 1), f.join(front, v, 2)}
			for range 3 {
				var all []byte
				for _, a := range c.answers {
					hosts[a.host].send(read(a.size))
					all = append(all, f.answer(a.size)...)
				}
				synctest.Wait() // until nobody sends any more
				f.write(all)
				synctest.Wait()
			}
			for i, h := range hosts {
				h.mu.Lock()
				if want := slices.Repeat(c.want[i], 3); !slices.Equal(h.story, want) {
					t.Errorf("%v: host %d: %q", c.answers, i, h.story)
				}
				h.mu.Unlock()
			}
		})
	}
}

// What a host sends together goes to the owner together: when its reader has taken
// what there is, or much has come, or by the clock, since the reader may be at
// something else for long.
func TestCommandsGoTogether(t *testing.T) {
	large := make([]byte, 64<<10)
	for _, c := range []struct {
		name   string
		writes [][]byte
		end    func(h *host)
		before int // how many are sent before end
	}{
		{"it waits", [][]byte{{1}, {2}, {3}}, (*host).waits, 0},
		{"it waits, large", [][]byte{large, large, large}, (*host).waits, 0},
		{"much has come", [][]byte{large, large, large, large, large}, (*host).waits, 4},
		{"it is busy", [][]byte{{1}, {2}, {3}}, func(*host) {}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, front := rawOwner(t)
			h := f.join(front, front.node.Volume(testVolume, 7, memberB), 1)
			synctest.Wait() // the link has nothing to send
			h.reads = true
			for _, data := range c.writes {
				h.send(write(data...))
			}
			synctest.Wait()
			f.mu.Lock()
			before := len(f.frames)
			f.mu.Unlock()
			if before != c.before && (c.before == 0 || before < c.before) { // who sends takes what has come meanwhile
				t.Errorf("%s: %d commands are sent before; want %d", c.name, before, c.before)
			}
			c.end(h)
			for range c.writes {
				f.next(wire.TypeCommand)
			}
			h.waits()
			h.send(write(1)) // nobody reads
			f.next(wire.TypeCommand)
		})
	}
}

// A link that is lost leaves no host corked.
func TestCorkAndLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, front := rawOwner(t)
		h := f.join(front, front.node.Volume(testVolume, 7, memberB), 1)
		first, second := h.send(read(0)), h.send(read(512))
		all := append(f.answer(0), f.answer(512)...)
		synctest.Wait()
		f.write(all[:len(all)-1])
		expect(t, first, lun.Ended, scsi.Good)
		_ = f.conn.Close()
		synctest.Wait()
		pending(t, second)
		h.mu.Lock()
		defer h.mu.Unlock()
		if !slices.Equal(h.story, []string{"cork", "end", "uncork"}) {
			t.Errorf("%q", h.story)
		}
	})
}

// steady is a pipe from which size bytes can be read at a time, without a wait.
type steady struct {
	plainPipe
	size int
}

func (p *steady) poll(dst [][]byte) (int, error) { return p.read(dst) }

func (p *steady) read(dst [][]byte) (n int, err error) {
	for _, b := range dst {
		n += min(len(b), p.size-n)
	}
	return n, nil
}

// While much comes at a time the reader goes on, but not for ever, before it
// sends what that has caused; else it sends that each time.
func TestReaderSendsInTime(t *testing.T) {
	for _, c := range []struct{ size, want int }{{512, 1}, {bulkSize - 1, 1}, {bulkSize, bulkMax / bulkSize}, {inputSize, bulkMax / inputSize}} {
		k := newConn(&steady{size: c.size}, new(sync.Mutex))
		reads, least, most := 0, bulkMax, 0
		k.before = func() {
			if reads > 0 {
				least, most = min(least, reads), max(most, reads)
			}
			reads = 0
		}
		sink := make([]byte, inputSize)
		for range 100 {
			if _, err := k.receive([][]byte{sink}, len(sink)); err != nil {
				t.Fatal(err)
			}
			k.in.w = 0
			reads++
		}
		if least != c.want || most != c.want {
			t.Errorf("%d bytes at a time: it sends after %d to %d reads; want %d", c.size, least, most, c.want)
		}
	}
}

// What the reader sends may end the connection: the close waits for whoever is in
// a read, and the reader is not.
func TestReaderMayEndItsConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPipe(near)
	if err != nil {
		t.Fatal(err)
	}
	k := newConn(p, new(sync.Mutex))
	k.in.bulk = bulkSize // it looks for more
	k.before = func() { k.end(errEnded) }
	if n, err := k.receive(nil, 0); err == nil {
		t.Errorf("%d bytes came", n)
	}
}
