package nbdserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/nbd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come.
const patience = time.Minute

func memory(t testing.TB, o mem.Options) *mem.Device {
	t.Helper()
	if o.Size == 0 {
		o.Size = 64 << 20
	}
	d, err := mem.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// world is a server on a unix socket.
type world struct {
	s    *Server
	addr string
	t    testing.TB
}

func serve(t testing.TB, o Options) *world {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	w := &world{s: New(o), addr: filepath.Join(t.TempDir(), "s"), t: t}
	l, err := net.Listen("unix", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.s.Serve(l) }()
	t.Cleanup(func() {
		w.close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return w
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.s.Close(ctx); err != nil {
		w.t.Error(err)
	}
}

func (w *world) add(name string, d block.Device, o ExportOptions) {
	w.t.Helper()
	if err := w.s.Add(name, d, o); err != nil {
		w.t.Fatal(err)
	}
}

// client is a small NBD client that checks what it gets.
type client struct {
	t          testing.TB
	nc         net.Conn
	structured bool
	cookie     uint64
	info       nbd.Info
	block      nbd.Info
}

// dial connects and exchanges the greeting.
func (w *world) dial() *client {
	w.t.Helper()
	nc, err := net.Dial("unix", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	c := &client{t: w.t, nc: nc}
	if _, err := nbd.ParseGreeting(c.read(nbd.GreetingLen)); err != nil {
		w.t.Fatal(err)
	}
	c.write((nbd.ClientFixedNewstyle | nbd.ClientNoZeroes).Append(nil))
	return c
}

// connect negotiates structured replies, base:allocation and an export.
func (w *world) connect(name string) *client {
	w.t.Helper()
	c := w.dial()
	c.must(nbd.OptStructuredReply, nil)
	c.structured = true
	c.must(nbd.OptSetMetaContext, nbd.MetaQuery{Export: name, Queries: []string{nbd.BaseAllocation}}.Append(nil))
	c.enter(name)
	return c
}

// simple negotiates an export without structured replies.
func (w *world) simple(name string) *client {
	w.t.Helper()
	c := w.dial()
	c.enter(name)
	return c
}

func (c *client) enter(name string) {
	c.t.Helper()
	for _, r := range c.must(nbd.OptGo, nbd.InfoRequest{Export: name, Infos: []nbd.InfoType{nbd.InfoBlockSize}}.Append(nil)) {
		i, err := nbd.ParseInfo(r.data)
		if err != nil {
			c.t.Fatal(err)
		}
		switch i.Type {
		case nbd.InfoExport:
			c.info = i
		case nbd.InfoBlockSize:
			c.block = i
		}
	}
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c.nc, b); err != nil {
		c.t.Fatalf("reading %d bytes: %v", n, err)
	}
	return b
}

// hungUp asserts that the server has closed the connection.
func (c *client) hungUp() {
	c.t.Helper()
	n, err := io.Copy(io.Discard, c.nc)
	if isTimeout(err) {
		c.t.Fatalf("the connection is still there, after %d bytes", n)
	}
}

type optReply struct {
	nbd.OptionReply
	data []byte
}

// option sends an option and returns the replies up to the last.
func (c *client) option(o nbd.Option, data []byte) []optReply {
	c.t.Helper()
	c.write(append(nbd.OptionHeader{Option: o, Length: uint32(len(data))}.Append(nil), data...))
	var all []optReply
	for {
		h, err := nbd.ParseOptionReply(c.read(nbd.OptionReplyLen))
		if err != nil {
			c.t.Fatal(err)
		}
		if h.Option != o {
			c.t.Fatalf("a reply to %s after %s", h.Option, o)
		}
		r := optReply{h, c.read(int(h.Length))}
		all = append(all, r)
		if h.Type == nbd.RepAck || h.Type.IsError() {
			return all
		}
	}
}

// must returns the replies before the ACK.
func (c *client) must(o nbd.Option, data []byte) []optReply {
	c.t.Helper()
	all := c.option(o, data)
	last := all[len(all)-1]
	if last.Type != nbd.RepAck {
		c.t.Fatalf("%s: %s %q", o, last.Type, last.data)
	}
	return all[:len(all)-1]
}

// refused asserts that the option ends with an error.
func (c *client) refused(o nbd.Option, data []byte, want nbd.ReplyType) {
	c.t.Helper()
	all := c.option(o, data)
	if last := all[len(all)-1]; last.Type != want || len(last.data) == 0 {
		c.t.Fatalf("%s was answered with %s %q, want %s", o, last.Type, last.data, want)
	}
}

// send sends one request, and returns its cookie.
func (c *client) send(cmd nbd.Cmd, flags nbd.CmdFlags, off uint64, n uint32, data []byte) uint64 {
	c.t.Helper()
	c.cookie++
	c.write(append(nbd.Request{Cmd: cmd, Flags: flags, Cookie: c.cookie, Offset: off, Length: n}.Append(nil), data...))
	return c.cookie
}

// answer is a reply, put together.
type answer struct {
	cookie uint64
	errno  nbd.Errno
	text   string
	data   []byte
	holes  int64 // bytes of data that came as holes
	chunks int
	status nbd.BlockStatus
}

// receive reads the next reply; readLen tells how long a read is.
func (c *client) receive(off uint64, readLen uint32) answer {
	c.t.Helper()
	var a answer
	if readLen > 0 {
		a.data = make([]byte, readLen)
	}
	for {
		magic := c.read(4)
		if binary.BigEndian.Uint32(magic) == nbd.SimpleReplyMagic {
			r, err := nbd.ParseSimpleReply(append(magic, c.read(nbd.SimpleReplyLen-4)...))
			if err != nil {
				c.t.Fatal(err)
			}
			a.cookie, a.errno = r.Cookie, r.Err
			if c.structured && readLen > 0 {
				c.t.Fatal("a simple reply to READ")
			}
			if r.Err == 0 && readLen > 0 {
				a.data = c.read(int(readLen))
			}
			return a
		}
		h, err := nbd.ParseChunk(append(magic, c.read(nbd.ChunkLen-4)...))
		if err != nil {
			c.t.Fatal(err)
		}
		if a.chunks > 0 && a.cookie != h.Cookie {
			c.t.Fatal("the chunks of two replies are mixed")
		}
		a.chunks++
		a.cookie = h.Cookie
		p := c.read(int(h.Length))
		if err := a.add(h.Type, p, off); err != nil {
			c.t.Fatal(err)
		}
		if h.Flags&nbd.ChunkDone != 0 {
			return a
		}
	}
}

func (a *answer) add(t nbd.ChunkType, p []byte, off uint64) error {
	switch t {
	case nbd.ChunkOffsetData:
		at, err := nbd.ParseOffset(p[:nbd.OffsetLen])
		if err != nil {
			return err
		}
		if p = p[nbd.OffsetLen:]; at < off || at-off+uint64(len(p)) > uint64(len(a.data)) {
			return fmt.Errorf("data at %d+%d", at, len(p))
		}
		copy(a.data[at-off:], p)
	case nbd.ChunkOffsetHole:
		h, err := nbd.ParseHole(p)
		if err != nil {
			return err
		}
		if h.Offset < off || h.Offset-off+uint64(h.Length) > uint64(len(a.data)) {
			return fmt.Errorf("hole at %d+%d", h.Offset, h.Length)
		}
		a.holes += int64(h.Length)
	case nbd.ChunkBlockStatus:
		s, err := nbd.ParseBlockStatus(p)
		a.status = s
		return err
	case nbd.ChunkError:
		e, err := nbd.ParseErrorPayload(p, t)
		a.errno, a.text = e.Err, e.Text
		return err
	case nbd.ChunkNone:
	default:
		return fmt.Errorf("chunk %s", t)
	}
	return nil
}

// do sends one request and returns its reply.
func (c *client) do(cmd nbd.Cmd, flags nbd.CmdFlags, off uint64, n uint32, data []byte) answer {
	c.t.Helper()
	cookie := c.send(cmd, flags, off, n, data)
	readLen := n
	if cmd != nbd.CmdRead {
		readLen = 0
	}
	a := c.receive(off, readLen)
	if a.cookie != cookie {
		c.t.Fatalf("the reply to %s has cookie %d, not %d", cmd, a.cookie, cookie)
	}
	return a
}

// ok is do for what has to succeed.
func (c *client) ok(cmd nbd.Cmd, flags nbd.CmdFlags, off uint64, n uint32, data []byte) answer {
	c.t.Helper()
	a := c.do(cmd, flags, off, n, data)
	if a.errno != 0 {
		c.t.Fatalf("%s at %d+%d: %v %s", cmd, off, n, a.errno, a.text)
	}
	return a
}

// fails is do for what has to end with an error.
func (c *client) fails(want nbd.Errno, cmd nbd.Cmd, flags nbd.CmdFlags, off uint64, n uint32, data []byte) {
	c.t.Helper()
	a := c.do(cmd, flags, off, n, data)
	if a.errno != want {
		c.t.Errorf("%s at %d+%d flags %#x ended with %v, want %v", cmd, off, n, uint16(flags), a.errno, want)
	}
	if c.structured && a.text == "" {
		c.t.Errorf("%s at %d+%d: an error without a text", cmd, off, n)
	}
}
