package nbdserver

import (
	"bytes"
	"os"
	"testing"

	"sango/internal/block/mem"
	"sango/internal/nbd"
)

// late is a tape on which every operation that is told to is too late once,
// after a part of it.
type late struct {
	tape
	reads, writes map[int]bool // by their number
	nr, nw        int
}

func (l *late) Read(p []byte) (int, error) {
	l.nr++
	if l.reads[l.nr] {
		return 0, os.ErrDeadlineExceeded
	}
	return l.tape.Read(p[:min(len(p), 100)])
}

func (l *late) Write(p []byte) (int, error) {
	l.nw++
	if l.writes[l.nw] {
		n, _ := l.tape.Write(p[:len(p)/2])
		return n, os.ErrDeadlineExceeded
	}
	return l.tape.Write(p)
}

// TestDeadlinesThatPassWhileTheProcessStoodStill: a connection survives a
// deadline that has passed in the middle of a request or a reply when the bytes
// move on at once. (A process that is stopped and continued finds all its
// deadlines passed.)
func TestDeadlinesThatPassWhileTheProcessStoodStill(t *testing.T) {
	s := New(Options{})
	if err := s.Add("", memory(t, mem.Options{}), ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	p := pattern(4096, 1)
	in := append(nbd.Request{Cmd: nbd.CmdWrite, Length: 4096}.Append(nil), p...)
	in = nbd.Request{Cmd: nbd.CmdRead, Length: 4096}.Append(in)
	l := &late{tape: tape{in: bytes.NewReader(in)}, reads: map[int]bool{2: true, 7: true}, writes: map[int]bool{3: true}}
	if err := s.ServeConn(l, ""); err != nil {
		t.Fatal(err)
	}
	want := nbd.SimpleReply{}.Append(nbd.SimpleReply{}.Append(nil))
	if want = append(want, p...); !bytes.Equal(l.out.Bytes(), want) {
		t.Errorf("%d bytes of replies, %d are right", l.out.Len(), len(want))
	}
	l = &late{tape: tape{in: bytes.NewReader(in)}, reads: map[int]bool{2: true, 3: true}}
	if err := s.ServeConn(l, ""); !isTimeout(err) {
		t.Errorf("a client that stays silent: %v", err)
	}
}
