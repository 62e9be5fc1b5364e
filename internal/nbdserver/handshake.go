package nbdserver

import (
	"errors"
	"fmt"
	"io"
	"time"

	"sango/internal/nbd"
)

const (
	// maxOptionData is the longest data of an option that is read; it holds an
	// export name and a few dozen queries.
	maxOptionData = 32 << 10
	// maxOptionSkip is the longest that is read past, so that the client gets an
	// error reply.
	maxOptionSkip = 1 << 20
	// maxOptions is how many options a client may send.
	maxOptions = 1024
)

// errAborted ends a handshake without a word in the log.
var errAborted = errors.New("aborted")

// negotiation is the state of a handshake.
type negotiation struct {
	c        *conn
	noZeroes bool
	fixed    bool
	tls      bool
	out      []byte // replies to the option at hand
	data     []byte // of the option at hand
	// context is the export for which the client has chosen base:allocation; ""
	// is a name too.
	context    string
	hasContext bool
	chosen     bool // the transmission phase begins
}

// handshake negotiates until the client has chosen an export (c.export is set)
// or gone away (it is nil).
func (c *conn) handshake() error {
	n := &negotiation{c: c}
	_ = c.nc.SetDeadline(time.Now().Add(c.s.opt.HandshakeTimeout))
	err := n.run()
	if errors.Is(err, errAborted) || errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		if c.isShut() {
			return nil
		}
		return fmt.Errorf("handshake: %w", err)
	}
	_ = c.nc.SetDeadline(time.Time{})
	return nil
}

func (n *negotiation) run() error {
	greeting := nbd.Greeting{Flags: nbd.FixedNewstyle | nbd.NoZeroes}
	if _, err := n.c.nc.Write(greeting.Append(nil)); err != nil {
		return err
	}
	var head [nbd.OptionHeaderLen]byte
	if _, err := io.ReadFull(n.c.nc, head[:nbd.ClientFlagsLen]); err != nil {
		return err
	}
	flags, err := nbd.ParseClientFlags(head[:nbd.ClientFlagsLen])
	if err != nil {
		return err
	}
	n.noZeroes = flags&nbd.ClientNoZeroes != 0
	n.fixed = flags&nbd.ClientFixedNewstyle != 0
	for range maxOptions {
		if _, err := io.ReadFull(n.c.nc, head[:]); err != nil {
			return err
		}
		h, err := nbd.ParseOptionHeader(head[:])
		if err != nil {
			return err
		}
		if err := n.option(h); err != nil || n.chosen {
			return err
		}
	}
	return fmt.Errorf("the client sent %d options and chose no export", maxOptions)
}

// option reads the data of one option and answers it.
func (n *negotiation) option(h nbd.OptionHeader) error {
	if h.Length > maxOptionSkip || h.Length > maxOptionData && h.Option == nbd.OptExportName {
		return fmt.Errorf("the client sent %s with %d bytes of data", h.Option, h.Length)
	}
	n.out = n.out[:0]
	if h.Length > maxOptionData {
		if _, err := io.CopyN(io.Discard, n.c.nc, int64(h.Length)); err != nil {
			return err
		}
		n.refuse(h.Option, nbd.RepErrTooBig, fmt.Sprintf("%s takes at most %d bytes of data", h.Option, maxOptionData))
		return n.send()
	}
	if cap(n.data) < int(h.Length) {
		n.data = make([]byte, maxOptionData)
	}
	n.data = n.data[:h.Length]
	if _, err := io.ReadFull(n.c.nc, n.data); err != nil {
		return err
	}
	if !n.fixed && h.Option != nbd.OptExportName {
		return fmt.Errorf("the client sent %s, but does not speak fixed newstyle", h.Option)
	}
	if err := n.answer(h.Option); err != nil {
		return err
	}
	return n.send()
}

// send writes the replies gathered in n.out.
func (n *negotiation) send() error {
	if len(n.out) == 0 {
		return nil
	}
	_, err := n.c.nc.Write(n.out)
	return err
}

// appender is a message of package nbd.
type appender interface{ Append([]byte) []byte }

// reply gathers a reply with data.
func (n *negotiation) reply(o nbd.Option, t nbd.ReplyType, data appender) {
	at := len(n.out)
	head := nbd.OptionReply{Option: o, Type: t}
	n.out = head.Append(n.out)
	if data == nil {
		return
	}
	n.out = data.Append(n.out)
	head.Length = uint32(len(n.out) - at - nbd.OptionReplyLen)
	head.Append(n.out[:at])
}

// text is data for people.
type text string

func (t text) Append(b []byte) []byte { return append(b, t...) }

// refuse gathers an error reply.
func (n *negotiation) refuse(o nbd.Option, t nbd.ReplyType, why string) {
	n.reply(o, t, text(bounded(why)))
}
