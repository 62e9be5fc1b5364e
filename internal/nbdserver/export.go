package nbdserver

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"sango/internal/block"
	"sango/internal/nbd"
)

// ExportOptions say how a device is exported.
type ExportOptions struct {
	Description string // for people; at most 4096 bytes of UTF-8
	ReadOnly    bool   // refuse changes, whatever the device allows
	Default     bool   // clients that name no export get this one
}

// Export is what a client is told of an export.
type Export struct {
	Name        string
	Description string
	Size        int64                 // bytes
	MinBlock    int                   // bytes: requests are multiples of it
	Preferred   int                   // bytes
	MaxRequest  int                   // bytes: the longest read or write
	Flags       nbd.TransmissionFlags // FlagSendDF is added where structured replies were negotiated
	Connections int                   // served now
}

// export is one device with a name.
type export struct {
	name string
	dev  block.Device
	opt  ExportOptions

	conns map[*conn]struct{} // guarded by Server.mu
}

// Add exports dev under name: at most 4096 bytes of UTF-8 without NUL; "" is
// the default export. The server does not close dev.
func (s *Server) Add(name string, dev block.Device, o ExportOptions) error {
	if err := nbd.CheckString(name); err != nil {
		return fmt.Errorf("export name: %w", err)
	}
	if err := nbd.CheckString(o.Description); err != nil {
		return fmt.Errorf("description of export %q: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return ErrClosed
	}
	if s.exports[name] != nil {
		return fmt.Errorf("nbdserver: there is an export %q already", name)
	}
	if o.Default || name == "" {
		if d := s.lookup(""); d != nil {
			return fmt.Errorf("nbdserver: %q is the default export already; only one can be", d.name)
		}
	}
	s.exports[name] = &export{name: name, dev: dev, opt: o, conns: map[*conn]struct{}{}}
	return nil
}

// lookup returns the export that a client means by name, or nil. The caller
// holds s.mu.
func (s *Server) lookup(name string) *export {
	if e := s.exports[name]; e != nil || name != "" {
		return e
	}
	for _, e := range s.exports {
		if e.opt.Default {
			return e
		}
	}
	return nil
}

// join makes c a connection of the export that name means. The caller holds
// s.mu.
func (s *Server) join(c *conn, name string) error {
	e := s.lookup(name)
	if e == nil {
		return unknownExport(name)
	}
	c.export, c.name, c.dev = e, e.name, e.dev
	info := e.dev.Info()
	c.told.Store(info.Size)
	c.async = info.Caps.Async
	e.conns[c] = struct{}{}
	return nil
}

func unknownExport(name string) error {
	if name == "" {
		return fmt.Errorf("nbdserver: there is no default export: name one")
	}
	return fmt.Errorf("nbdserver: there is no export %q", name)
}

// Remove takes an export away: new requests of its clients are answered with
// ESHUTDOWN, those under way are waited for, then the connections are closed.
// When ctx ends before that, the connections are cut, and its error returned.
func (s *Server) Remove(ctx context.Context, name string) error {
	s.mu.Lock()
	e := s.exports[name]
	if e == nil {
		s.mu.Unlock()
		return unknownExport(name)
	}
	delete(s.exports, name)
	conns := slices.Collect(maps.Keys(e.conns))
	s.mu.Unlock()
	return shut(ctx, conns)
}

// Export describes the export with this name.
func (s *Server) Export(name string) (Export, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lookup(name)
	if e == nil {
		return Export{}, unknownExport(name)
	}
	return s.describe(e), nil
}

// Exports describes all exports, in the order of their names.
func (s *Server) Exports() []Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Export
	for _, name := range slices.Sorted(maps.Keys(s.exports)) {
		all = append(all, s.describe(s.exports[name]))
	}
	return all
}

// Resized tells the server that the device of an export has another size now.
// Requests are checked against the size of the device as it is, with or without
// this call. NBD has no message for it: Resized returns how many connections
// were told another size; they see the new one when they connect again.
func (s *Server) Resized(name string) (stale int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lookup(name)
	if e == nil {
		return 0, unknownExport(name)
	}
	size := e.dev.Info().Size
	for c := range e.conns {
		if c.told.Load() != size {
			stale++
		}
	}
	if stale > 0 {
		s.opt.Logger.Info("the size of an NBD export has changed; clients see it when they connect again",
			"export", e.name, "size", size, "connections", stale)
	}
	return stale, nil
}

// describe returns what clients are told of e. The caller holds s.mu.
func (s *Server) describe(e *export) Export {
	info := e.dev.Info()
	return Export{
		Name: e.name, Description: e.opt.Description, Size: info.Size,
		MinBlock: info.BlockSize, Preferred: min(max(info.PhysicalBlock, 4096), s.opt.MaxRequest), MaxRequest: s.opt.MaxRequest,
		Flags: e.flags(&info), Connections: len(e.conns),
	}
}

// readOnly reports whether changes are refused.
func (e *export) readOnly(info *block.Info) bool { return e.opt.ReadOnly || info.Caps.ReadOnly }

// flags returns the transmission flags, without structured replies.
func (e *export) flags(info *block.Info) nbd.TransmissionFlags {
	// A flush of a block.Device covers all writes that have ended, whoever sent
	// them: that is what CAN_MULTI_CONN promises.
	f := nbd.FlagHasFlags | nbd.FlagSendFlush | nbd.FlagCanMultiConn | nbd.FlagSendCache
	if e.readOnly(info) {
		return f | nbd.FlagReadOnly
	}
	caps := &info.Caps
	if caps.FUA != block.None {
		f |= nbd.FlagSendFUA
	}
	if caps.Discard != block.None {
		f |= nbd.FlagSendTrim
	}
	if caps.WriteZeroes != block.None {
		f |= nbd.FlagSendWriteZeroes | nbd.FlagSendFastZero
	}
	return f
}
