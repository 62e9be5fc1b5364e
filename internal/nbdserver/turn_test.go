package nbdserver

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"

	"sango/internal/block/mem"
	"sango/internal/nbd"
	"sango/internal/turns"
)

// newTurn returns the turn of one of two readers on two processors.
func newTurn() (*turn, *turns.Readers) {
	of := turns.NewReaders(2)
	var n atomic.Int32
	n.Store(2)
	return &turn{Reader: of.Reader(), others: &n}, of
}

// TestWhoSpins: a reader polls for a client that sends one request at a time,
// or the rest of one.
func TestWhoSpins(t *testing.T) {
	r, of := newTurn()
	if r.spins() {
		t.Error("it spins for a client that it does not know")
	}
	for range shallow {
		r.lull.Came()
		r.lull.Wait()
	}
	if !r.spins() {
		t.Error("it does not spin for a client with one request at a time")
	}
	one, two := of.Reader(), of.Reader()
	if one.Wake(); !r.spins() {
		t.Error("it does not spin beside one that works")
	}
	if two.Wake(); r.spins() {
		t.Error("it spins while others work")
	}
	two.Wait()
	r.lull.Came()
	r.lull.Came()
	r.lull.Wait()
	if r.eager = true; !r.spins() {
		t.Error("it does not spin for the rest of a request")
	}
	if r.eager = false; r.spins() {
		t.Error("it spins for a client with several requests")
	}
}

// TestNoSpinOnOneProcessor: it would keep the client away.
func TestNoSpinOnOneProcessor(t *testing.T) {
	r := &turn{Reader: turns.NewReaders(1).Reader(), eager: true}
	if r.spins() {
		t.Error("it spins")
	}
}

// TestBusyReaderWaits: with others there, a reader that always finds something
// waits now and then, and counts as awake afterwards.
func TestBusyReaderWaits(t *testing.T) {
	r, of := newTurn()
	for r.begin(); r.timer == nil; {
		r.mayWait()
	}
	if n := of.Awake(); n != 1 {
		t.Errorf("%d readers are awake", n)
	}
}

// TestDataThatComesInAnyPieces: writes of all sizes with reads between them,
// cut anywhere on the way.
func TestDataThatComesInAnyPieces(t *testing.T) {
	w := serve(t, Options{})
	w.add("", memory(t, mem.Options{}), ExportOptions{})
	sizes := []int{512, 64 << 10, 4096, directSize, directSize - 512, 2 << 20, 512, 64 << 10, 64 << 10, 3 << 19}
	var out, want []byte
	off := uint64(0)
	for i, n := range sizes {
		data := pattern(n, byte(i+1))
		out = append(nbd.Request{Cmd: nbd.CmdWrite, Cookie: 1, Offset: off, Length: uint32(n)}.Append(out), data...)
		out = nbd.Request{Cmd: nbd.CmdRead, Cookie: 1, Offset: off, Length: uint32(n)}.Append(out)
		want = nbd.SimpleReply{Cookie: 1}.Append(nbd.SimpleReply{Cookie: 1}.Append(want))
		want = append(want, data...)
		off += uint64(n)
	}
	for _, piece := range []int{700, 4099, 64 << 10, len(out)} {
		c := w.simple("")
		sent := make(chan error, 1)
		go func() {
			var err error
			for left := out; len(left) > 0 && err == nil; left = left[min(piece, len(left)):] {
				_, err = c.nc.Write(left[:min(piece, len(left))])
			}
			sent <- err
		}()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c.nc, got); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("in pieces of %d bytes the replies differ", piece)
		}
	}
}
