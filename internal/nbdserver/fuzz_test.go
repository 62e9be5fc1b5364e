package nbdserver

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/nbd"
)

// tape is a connection whose client has sent everything already and takes
// every reply.
type tape struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (t *tape) Read(p []byte) (int, error)       { return t.in.Read(p) }
func (t *tape) Write(p []byte) (int, error)      { return t.out.Write(p) }
func (t *tape) Close() error                     { return nil }
func (t *tape) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (t *tape) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (t *tape) SetDeadline(time.Time) error      { return nil }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }

func FuzzHandshake(f *testing.F) {
	option := func(o nbd.Option, m interface{ Append([]byte) []byte }) []byte {
		var data []byte
		if m != nil {
			data = m.Append(nil)
		}
		return append(nbd.OptionHeader{Option: o, Length: uint32(len(data))}.Append(nil), data...)
	}
	hello := (nbd.ClientFixedNewstyle | nbd.ClientNoZeroes).Append(nil)
	for _, o := range [][]byte{
		option(nbd.OptExportName, nil), option(nbd.OptAbort, nil), option(nbd.OptList, nil), option(nbd.OptStartTLS, nil),
		option(nbd.OptGo, nbd.InfoRequest{Export: "a", Infos: []nbd.InfoType{1, 2, 3}}), option(nbd.OptInfo, nbd.InfoRequest{}),
		append(option(nbd.OptStructuredReply, nil), option(nbd.OptSetMetaContext, nbd.MetaQuery{Export: "a", Queries: []string{nbd.BaseAllocation}})...),
		option(nbd.OptExtendedHeaders, nil),
	} {
		f.Add(append(hello[:len(hello):len(hello)], o...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := New(Options{})
		for _, name := range []string{"", "a"} {
			if err := s.Add(name, memory(t, mem.Options{Size: 1 << 20}), ExportOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		tp := &tape{in: bytes.NewReader(in)}
		c := newConn(s, tp)
		_ = c.handshake()
		out := bytes.NewReader(tp.out.Bytes())
		greeting := make([]byte, nbd.GreetingLen)
		_, _ = io.ReadFull(out, greeting)
		if _, err := nbd.ParseGreeting(greeting); err != nil {
			t.Fatal(err)
		}
		for out.Len() > 0 {
			if c.export != nil && (out.Len() == 10 || out.Len() == 134) {
				return // the answer to EXPORT_NAME
			}
			head := make([]byte, nbd.OptionReplyLen)
			_, _ = io.ReadFull(out, head)
			r, err := nbd.ParseOptionReply(head)
			if err != nil {
				t.Fatal(err)
			}
			if int(r.Length) > out.Len() {
				t.Fatalf("%s of %d bytes, but %d follow", r.Type, r.Length, out.Len())
			}
			_, _ = out.Seek(int64(r.Length), io.SeekCurrent)
		}
	})
}

func FuzzTransmission(f *testing.F) {
	for _, r := range []nbd.Request{
		{Cmd: nbd.CmdRead, Length: 4096},
		{Cmd: nbd.CmdFlush},
		{Cmd: nbd.CmdTrim, Length: 512},
		{Cmd: nbd.CmdDisc},
		{Cmd: nbd.CmdWriteZeroes, Flags: nbd.CmdFlagNoHole | nbd.CmdFlagFastZero, Length: 8192},
		{Cmd: nbd.CmdCache, Length: 512},
		{Cmd: nbd.CmdBlockStatus, Flags: nbd.CmdFlagReqOne, Length: 65536},
		{Cmd: nbd.CmdRead, Offset: 1 << 62, Length: 1 << 31},
	} {
		f.Add(r.Append(r.Append(nil)), true)
	}
	f.Add(append(nbd.Request{Cmd: nbd.CmdWrite, Flags: nbd.CmdFlagFUA, Length: 512}.Append(nil), make([]byte, 512)...), false)
	f.Fuzz(func(t *testing.T, in []byte, async bool) {
		s := New(Options{MaxRequest: 64 << 10, Depth: 4})
		d := block.Check(memory(t, mem.Options{Size: 1 << 20}), t)
		if err := s.Add("", d, ExportOptions{}); err != nil {
			t.Fatal(err)
		}
		tp := &tape{in: bytes.NewReader(in)}
		c := newConn(s, tp)
		s.mu.Lock()
		err := s.join(c, "")
		s.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		c.structured, c.allocation, c.async = true, true, async
		_ = c.transmit()
		if c.inflight != 0 || c.memory != 0 {
			t.Fatalf("%d requests and %d bytes are left over", c.inflight, c.memory)
		}
		checkReplies(t, tp.out.Bytes())
	})
}

// checkReplies asserts that out is a sequence of structured and simple replies.
func checkReplies(t *testing.T, out []byte) {
	for len(out) > 0 {
		if out[0] == 0x67 && len(out) >= nbd.SimpleReplyLen {
			if _, err := nbd.ParseSimpleReply(out[:nbd.SimpleReplyLen]); err != nil {
				t.Fatal(err)
			}
			out = out[nbd.SimpleReplyLen:]
			continue
		}
		h, err := nbd.ParseChunk(out[:min(len(out), nbd.ChunkLen)])
		if err != nil {
			t.Fatal(err)
		}
		if out = out[nbd.ChunkLen:]; int(h.Length) > len(out) {
			t.Fatalf("%s of %d bytes, but %d follow", h.Type, h.Length, len(out))
		}
		p := out[:h.Length]
		out = out[h.Length:]
		a := answer{data: make([]byte, 64<<10)}
		if h.Type == nbd.ChunkError || h.Type == nbd.ChunkBlockStatus {
			if err := a.add(h.Type, p, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}
