package nbdserver

import (
	"fmt"

	"sango/internal/block"
	"sango/internal/nbd"
)

// check returns how a request is to be refused, or 0.
func (c *conn) check(r *nbd.Request) (nbd.Errno, string) {
	c.mu.Lock()
	shutting := c.shutting
	c.mu.Unlock()
	if shutting {
		return nbd.ESHUTDOWN, "the server is shutting down"
	}
	info := c.dev.Info()
	offered := c.export.flags(&info)
	if !offers(offered, r.Cmd) {
		if r.Cmd <= nbd.CmdBlockStatus && c.export.readOnly(&info) {
			return nbd.EPERM, "the export is read-only"
		}
		return nbd.EINVAL, fmt.Sprintf("%s is not supported", r.Cmd)
	}
	if bad := r.Flags &^ c.legal(offered, r.Cmd); bad != 0 {
		return nbd.EINVAL, fmt.Sprintf("%s does not take flags %#x here", r.Cmd, uint16(bad))
	}
	switch r.Cmd {
	case nbd.CmdFlush:
		if r.Offset != 0 || r.Length != 0 {
			return nbd.EINVAL, "FLUSH takes no range"
		}
		return 0, ""
	case nbd.CmdBlockStatus:
		if !c.allocation {
			return nbd.EINVAL, "BLOCK_STATUS without a metadata context: negotiate " + nbd.BaseAllocation + " first"
		}
		if r.Length == 0 {
			return nbd.EINVAL, "BLOCK_STATUS of no bytes"
		}
	}
	if r.Cmd == nbd.CmdWriteZeroes && r.Flags&nbd.CmdFlagFastZero != 0 && info.Caps.WriteZeroes != block.Native {
		return nbd.ENOTSUP, "zeroing is not faster than writing here"
	}
	return c.checkRange(r, &info)
}

func (c *conn) checkRange(r *nbd.Request, info *block.Info) (nbd.Errno, string) {
	size, n := uint64(info.Size), uint64(r.Length)
	if r.Offset > size || n > size-r.Offset {
		e := nbd.EINVAL
		if r.Cmd == nbd.CmdWrite || r.Cmd == nbd.CmdWriteZeroes {
			e = nbd.ENOSPC
		}
		return e, fmt.Sprintf("%s at %d+%d is past the end of %d bytes", r.Cmd, r.Offset, n, size)
	}
	if bs := uint64(info.BlockSize); r.Offset%bs != 0 || n%bs != 0 {
		return nbd.EINVAL, fmt.Sprintf("%s at %d+%d: offset and length have to be multiples of %d bytes", r.Cmd, r.Offset, n, bs)
	}
	if (r.Cmd == nbd.CmdRead || r.Cmd == nbd.CmdWrite) && n > uint64(c.s.opt.MaxRequest) {
		return nbd.EINVAL, fmt.Sprintf("%s of %d bytes; at most %d are allowed", r.Cmd, n, c.s.opt.MaxRequest)
	}
	return 0, ""
}

// offers reports whether flags f allow a command.
func offers(f nbd.TransmissionFlags, cmd nbd.Cmd) bool {
	switch cmd {
	case nbd.CmdRead, nbd.CmdFlush, nbd.CmdCache, nbd.CmdBlockStatus:
		return true
	case nbd.CmdWrite:
		return f&nbd.FlagReadOnly == 0
	case nbd.CmdTrim:
		return f&nbd.FlagSendTrim != 0
	case nbd.CmdWriteZeroes:
		return f&nbd.FlagSendWriteZeroes != 0
	}
	return false
}

// legal returns the flags that cmd may carry where f was offered. FUA may come
// with every command.
func (c *conn) legal(f nbd.TransmissionFlags, cmd nbd.Cmd) nbd.CmdFlags {
	var l nbd.CmdFlags
	if f&nbd.FlagSendFUA != 0 {
		l = nbd.CmdFlagFUA
	}
	switch cmd {
	case nbd.CmdRead:
		if c.structured {
			l |= nbd.CmdFlagDF
		}
	case nbd.CmdWriteZeroes:
		l |= nbd.CmdFlagNoHole | nbd.CmdFlagFastZero
	case nbd.CmdBlockStatus:
		l |= nbd.CmdFlagReqOne
	}
	return l
}

// errnoOf returns what an error of the device is on the wire.
func errnoOf(err error) nbd.Errno {
	switch block.ClassOf(err) {
	case block.NoSpace:
		return nbd.ENOSPC
	case block.ReadOnly:
		return nbd.EPERM
	case block.Invalid:
		return nbd.EINVAL
	case block.Unsupported:
		return nbd.ENOTSUP
	case block.Closed:
		return nbd.ESHUTDOWN
	}
	return nbd.EIO
}
