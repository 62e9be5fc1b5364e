package multipath

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sango/internal/block"
	"sango/internal/initiator"
	"sango/internal/iscsi"
	"sango/internal/pause"
	"sango/internal/scsi"
)

// errEnded is why a command was not sent to a session that is no more.
var errEnded = errors.New("the session has ended")

// setShape makes s the shape of the volume. since is what shapes was before s
// was asked for: paths tell at the same time, and if another shape was set
// since, nobody knows which is the older one, so that the volume is looked at
// again. It refuses what cannot change under a device that is in use.
func (d *Device) setShape(s *shape, since uint64) error {
	d.shapeMu.Lock()
	defer d.shapeMu.Unlock()
	old := d.shape.Load()
	if old != nil && s.block != old.block {
		return fmt.Errorf("the blocks of the volume have %d bytes now, and had %d: attach it anew", s.block, old.block)
	}
	if old != nil {
		s.physical = old.physical // nobody above could follow
		// Nor can most of those who were told that they need no flushes.
		s.through = old.through || !old.writeBack
	}
	if since != d.shapes.Load() {
		if *s != *old {
			kick(d.refresh)
		}
		return nil
	}
	d.shape.Store(s)
	d.shapes.Add(1)
	if old == nil {
		d.size.Store(s.size)
	}
	if old == nil || old.size != s.size || old.readOnly != s.readOnly {
		d.notify()
	}
	if old != nil && s.through && s.writeBack && !old.writeBack {
		d.log.Warn("the volume has a write cache now, and had none when it was opened: every write goes past the cache; open it anew to use it")
		d.background(func() { // for what was written before this was known
			if err := d.lastFlush(); err != nil {
				d.log.Error("the write cache that the volume has now can't be flushed", "error", err)
			}
		})
	}
	if old != nil && old.size != s.size {
		d.log.Info("volume has another size", "from", old.size, "to", s.size)
		d.resized.Store(time.Now().UnixNano())
		kick(d.told)
	}
	return nil
}

// follow looks at the volume again when it has changed, and tells of its size.
func (d *Device) follow() {
	for {
		select {
		case <-d.refresh:
			d.look()
		case <-d.told:
		case <-d.ctx.Done():
			return
		}
		s := d.shape.Load()
		if s == nil {
			continue
		}
		if d.size.Swap(s.size) != s.size && d.cfg.Resized != nil {
			d.cfg.Resized(s.size)
		}
	}
}

// lookAgain is the pause before the volume is looked at again when no path
// could tell.
const lookAgain = 500 * time.Millisecond

// look asks for the shape of the volume over one path after the other until
// one answers.
func (d *Device) look() {
	for d.ctx.Err() == nil {
		v := d.engineView()
		for i := range v.paths {
			if v.paths[i].usable && d.lookBy(&v.paths[i]) {
				return
			}
		}
		if v.noPath && d.shape.Load() != nil {
			return // the next path that comes up is probed
		}
		if !pause.For(d.ctx, lookAgain) {
			return
		}
	}
}

// lookBy asks over one path.
func (d *Device) lookBy(v *pathView) bool {
	p := d.path(v.id)
	l := p.session(v.login)
	if l == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(d.ctx, d.cfg.LoginTimeout)
	defer cancel()
	f, since := p.seen.Load(), d.shapes.Load()
	s, err := askShape(ctx, p.asker(l), f != nil && f.sango != nil)
	if err == nil {
		err = d.setShape(s, since)
	}
	if err != nil {
		d.log.Warn("path does not tell of the volume", "portal", p.url.Host, "error", err)
	}
	return err == nil
}

// engineView returns what the engine knows.
func (d *Device) engineView() engineView {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.eng.view()
}

// ErrHopeless is why Open failed where waiting does not help: every path was
// refused, or leads to no volume, or to another one.
var ErrHopeless = errors.New("trying again does not help")

// ErrNoLUN is why a path does not serve whose target has no such LUN, or not
// for this host.
var ErrNoLUN = errors.New("the target shows this host no such LUN")

// refusedLogin reports whether a login failed in a way that trying again does
// not help: the target refused it because of what the initiator is or said
// (RFC 7143 §11.13.5, class 2), or could not prove itself.
func refusedLogin(err error) bool {
	var l *iscsi.LoginError
	var u *initiator.UsageError
	return errors.As(err, &l) && l.Status.Class() == 2 || errors.Is(err, iscsi.ErrAuth) || errors.As(err, &u)
}

// noLUN reports whether a path does not serve since nothing is at its LUN.
func (q *pathView) noLUN() bool {
	var cc *scsi.CheckCondition
	return q.state == PathFailed && errors.As(q.lastErr, &cc) && cc.Sense.ASC == scsi.ASCLUNotSupported
}

// hopeless returns why none of the paths will ever serve. After a process that
// died a LUN that is not there is waited for: applications wait too.
func (d *Device) hopeless(v *engineView) error {
	paths := d.all()
	for _, p := range paths {
		i := slices.IndexFunc(v.paths, func(q pathView) bool { return q.id == p.id })
		if i < 0 {
			return nil
		}
		q := &v.paths[i]
		if !p.refuse.Load() && q.state != PathWrongIdentity && (!q.noLUN() || d.cfg.TakeOver) {
			return nil
		}
	}
	if len(paths) == 0 {
		return nil
	}
	return d.noPath(v, ErrHopeless)
}

// noPath says why no path serves.
func (d *Device) noPath(v *engineView, cause error) error {
	var why []string
	none := &noPathError{}
	for i := range v.paths {
		q := &v.paths[i]
		p := d.path(q.id)
		if p == nil {
			continue
		}
		s := fmt.Sprintf("%s is %v", p.url.Host, q.state)
		if q.noLUN() {
			s = fmt.Sprintf("%s: %v", p.url.Host, ErrNoLUN)
			none.causes = append(none.causes, ErrNoLUN)
		} else if q.lastErr != nil {
			s += ": " + q.lastErr.Error()
			none.causes = append(none.causes, q.lastErr)
		}
		why = append(why, s)
	}
	none.text = fmt.Sprintf("multipath: no path to LUN %d of %s serves: %s", d.cfg.URLs[0].LUN, d.cfg.URLs[0].Target, strings.Join(why, "; "))
	if none.causes = append(none.causes, cause); !errors.Is(cause, ErrHopeless) { // that is said by the rest
		none.text += fmt.Sprintf(" (%v)", cause)
	}
	return none
}

// noPathError says why no path serves; it wraps what the paths failed with.
type noPathError struct {
	text   string
	causes []error
}

// Error implements error.
func (e *noPathError) Error() string { return e.text }

// Unwrap returns what the paths failed with.
func (e *noPathError) Unwrap() []error { return e.causes }

// Status implements block.Device: GET LBA STATUS where the target has it, else
// everything counts as mapped.
func (d *Device) Status(off, n int64, limit int) ([]block.Extent, error) {
	if !d.gauge.Enter() {
		return nil, &block.Error{Class: block.Closed, Off: off, Len: n}
	}
	defer d.gauge.Leave()
	s := d.shape.Load()
	bs := int64(s.block)
	if off < 0 || n <= 0 || off > s.size || n > s.size-off || off%bs != 0 || n%bs != 0 {
		return nil, &block.Error{Class: block.Invalid, Off: off, Len: n, Err: fmt.Errorf("no range of blocks of a volume of %d bytes", s.size)}
	}
	all := []block.Extent{{Off: off, Len: n, Alloc: block.Mapped}}
	if !s.lbaStatus || !s.zeros {
		return all, nil
	}
	list, err := d.lbaStatus(off/bs, limit)
	if c := block.ClassOf(err); c == block.Unsupported || c == block.Invalid {
		return all, nil // the target does not know the command, or this form of it
	}
	if err != nil {
		return nil, err
	}
	if ext := extents(list, off, n, bs, limit); len(ext) > 0 {
		return ext, nil
	}
	return all, nil
}

// mostExtents bounds the answer of one GET LBA STATUS.
const mostExtents = 1024

// lbaStatus asks GET LBA STATUS as any read goes: over another path when one
// fails.
func (d *Device) lbaStatus(lba int64, limit int) ([]scsi.LBAStatus, error) {
	if limit <= 0 || limit > mostExtents {
		limit = mostExtents
	}
	// Neighbours in one state are joined: ask for more than are wanted.
	size := scsi.LBAStatusHeaderLen + scsi.LBAStatusDescriptorLen*min(2*limit, mostExtents)
	done := make(chan error, 1)
	p := &piece{want: -1, ended: func(err error) { done <- err }}
	j := &job{d: d}
	p.init(j)
	buf := make([]byte, size)
	p.blk = block.Request{Op: block.OpRead, Off: lba * int64(d.shape.Load().block), Len: int64(size)}
	p.cmd = initiator.Command{
		CDB: cdbGetLBAStatus(scsi.LBA(lba), uint32(size)), Attr: scsi.Simple, In: [][]byte{buf}, Done: commandDone, User: p,
	}
	d.step(event{kind: evSubmit, req: &p.req})
	if err := <-done; err != nil {
		return nil, err
	}
	list, err := scsi.ParseLBAStatus(buf[:min(p.cmd.Got, size)])
	if err != nil {
		return nil, &block.Error{Class: block.Medium, Err: err}
	}
	return list, nil
}

// extents turns descriptors into extents of [off, off+n). It stops at a gap.
func extents(list []scsi.LBAStatus, off, n, bs int64, limit int) (ext []block.Extent) {
	end := off + n
	for _, s := range list {
		if uint64(s.LBA) > uint64(end/bs) {
			break
		}
		lo, hi := int64(s.LBA)*bs, min(int64(s.LBA)*bs+int64(s.Blocks)*bs, end)
		if lo > off || hi <= off {
			if lo > off {
				break
			}
			continue
		}
		a := block.Mapped
		if s.State == scsi.StatusDeallocated {
			a = block.Deallocated
		}
		if k := len(ext); k > 0 && ext[k-1].Alloc == a {
			ext[k-1].Len += hi - off
		} else if limit > 0 && k == limit {
			break
		} else {
			ext = append(ext, block.Extent{Off: off, Len: hi - off, Alloc: a})
		}
		if off = hi; off == end {
			break
		}
	}
	return ext
}
