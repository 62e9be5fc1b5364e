package nbdserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"sango/internal/nbd"
)

// answer does what the client asks for, with n.data as the option's data.
func (n *negotiation) answer(o nbd.Option) error {
	c := n.c
	if c.s.isClosing() && o != nbd.OptAbort {
		if o == nbd.OptExportName {
			return ErrClosed
		}
		n.refuse(o, nbd.RepErrShutdown, "the server is shutting down")
		return nil
	}
	if c.s.opt.RequireTLS && !n.tls && o != nbd.OptStartTLS && o != nbd.OptAbort {
		if o == nbd.OptExportName {
			return errors.New("the client chose an export without TLS, which is required")
		}
		n.refuse(o, nbd.RepErrTLSReqd, "this server requires TLS")
		return nil
	}
	switch o {
	case nbd.OptStartTLS, nbd.OptStructuredReply, nbd.OptList:
		if len(n.data) > 0 {
			n.refuse(o, nbd.RepErrInvalid, fmt.Sprintf("%s carries no data", o))
			return nil
		}
	}
	switch o {
	case nbd.OptAbort:
		// The client need not wait for the reply.
		n.reply(o, nbd.RepAck, nil)
		_ = n.send()
		return errAborted
	case nbd.OptStartTLS:
		return n.startTLS()
	case nbd.OptStructuredReply:
		c.structured = true
		n.reply(o, nbd.RepAck, nil)
	case nbd.OptList:
		for _, e := range c.s.Exports() {
			n.reply(o, nbd.RepServer, nbd.ListEntry{Name: e.Name, Description: e.Description})
		}
		n.reply(o, nbd.RepAck, nil)
	case nbd.OptInfo, nbd.OptGo:
		n.info(o)
	case nbd.OptExportName:
		return n.exportName()
	case nbd.OptListMetaContext, nbd.OptSetMetaContext:
		n.metaContext(o)
	default:
		n.refuse(o, nbd.RepErrUnsup, fmt.Sprintf("%s is not supported", o))
	}
	return nil
}

// startTLS goes over to TLS. Everything negotiated before it is void.
func (n *negotiation) startTLS() error {
	const o = nbd.OptStartTLS
	switch {
	case n.tls:
		n.refuse(o, nbd.RepErrInvalid, "TLS is in use already")
		return nil
	case n.c.s.opt.TLS == nil:
		n.refuse(o, nbd.RepErrPolicy, "this server has no TLS certificate")
		return nil
	}
	n.reply(o, nbd.RepAck, nil)
	if err := n.send(); err != nil {
		return err
	}
	n.out = n.out[:0]
	t := tls.Server(n.c.nc, n.c.s.opt.TLS)
	// The deadline of the connection covers it.
	if err := t.HandshakeContext(context.Background()); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	n.c.secure(t)
	n.tls, n.hasContext, n.c.structured = true, false, false
	return nil
}

// info answers OptInfo and OptGo.
func (n *negotiation) info(o nbd.Option) {
	r, err := nbd.ParseInfoRequest(n.data)
	if err != nil {
		n.refuse(o, nbd.RepErrInvalid, err.Error())
		return
	}
	e, err := n.c.s.Export(r.Export)
	if err != nil {
		n.refuse(o, nbd.RepErrUnknown, err.Error())
		return
	}
	if o == nbd.OptGo {
		if e.MinBlock > 512 && !r.Wants(nbd.InfoBlockSize) {
			n.refuse(o, nbd.RepErrBlockSizeReqd, needsBlockSize(e))
			return
		}
		if err := n.choose(r.Export); err != nil {
			n.refuse(o, nbd.RepErrUnknown, err.Error())
			return
		}
	}
	n.reply(o, nbd.RepInfo, nbd.Info{Type: nbd.InfoExport, Size: uint64(e.Size), Flags: n.flags(e)})
	n.reply(o, nbd.RepInfo, nbd.Info{
		Type: nbd.InfoBlockSize, MinBlock: uint32(e.MinBlock), Preferred: uint32(e.Preferred), MaxPayload: uint32(e.MaxRequest),
	})
	if r.Wants(nbd.InfoName) {
		n.reply(o, nbd.RepInfo, nbd.Info{Type: nbd.InfoName, Text: e.Name})
	}
	if r.Wants(nbd.InfoDescription) && e.Description != "" {
		n.reply(o, nbd.RepInfo, nbd.Info{Type: nbd.InfoDescription, Text: e.Description})
	}
	n.reply(o, nbd.RepAck, nil)
}

func needsBlockSize(e Export) string {
	return fmt.Sprintf("export %q has blocks of %d bytes: the client has to ask for the block size (NBD_INFO_BLOCK_SIZE)", e.Name, e.MinBlock)
}

// flags returns what e can do on this connection.
func (n *negotiation) flags(e Export) nbd.TransmissionFlags {
	if n.c.structured {
		return e.Flags | nbd.FlagSendDF
	}
	return e.Flags
}

// choose ends the handshake with an export.
func (n *negotiation) choose(name string) error {
	c := n.c
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.closing {
		return ErrClosed
	}
	if err := c.s.join(c, name); err != nil {
		return err
	}
	// Contexts count for the export they were asked for alone.
	c.allocation = n.hasContext && c.s.lookup(n.context) == c.export
	n.chosen = true
	return nil
}

// exportName answers OptExportName, which has no error replies.
func (n *negotiation) exportName() error {
	name := string(n.data)
	if err := nbd.CheckString(name); err != nil {
		return err
	}
	e, err := n.c.s.Export(name)
	if err != nil {
		return err
	}
	if e.MinBlock > 512 {
		return errors.New(needsBlockSize(e))
	}
	if err := n.choose(name); err != nil {
		return err
	}
	n.out = nbd.ExportNameReply{Size: uint64(e.Size), Flags: n.flags(e), Zeroes: !n.noZeroes}.Append(n.out)
	return nil
}
