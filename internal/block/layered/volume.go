package layered

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"sync/atomic"

	"sango/internal/block"
	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// volume is a loaded volume: its lock is held and its live chain is open.
type volume struct {
	s    *Store
	fs   vfs.FS
	id   san.UUID
	dir  string
	lock vfs.Lock
	boot [16]byte

	epoch   san.Epoch   // the highest that the volume was open under; 0: nobody ever owned it. Guarded by entry.mu
	leaving atomic.Bool // its owner closes it: operations come to an end

	// control is held by one operation at a time that changes the manifest. Its
	// holder may read man and layers without the gate.
	control sync.Mutex
	// gate is held shared by each request, and exclusively (so: with no request
	// in flight) to change what follows it.
	gate   sync.RWMutex
	man    *manifest
	layers map[layerID]*layer // the open ones
	live   view
	views  map[string]*view // snapshots that are being read, by name

	busy    atomic.Int64            // requests in flight: background work yields to them
	failed  atomic.Pointer[failure] // set once, by a sync that failed
	noClone atomic.Bool             // this filesystem can't share extents

	flushing sync.Mutex // one flush at a time
	slot     slot
	loss     loss

	jobs jobs
}

// view is a stack of layers as somebody reads it, top first.
type view struct {
	chain   []*layer
	size    int64
	readers int
}

type failure struct{ err error }

// fail stops the volume: a sync failed, or it is unknown whether a change of
// the manifest is there.
func (v *volume) fail(err error) {
	if v.failed.CompareAndSwap(nil, &failure{err}) {
		v.distrust(err)
		v.s.log.Error("volume stopped: it serves nothing until it is opened again", "volume", v.id, "error", err)
	}
}

// distrust notes that a sync failed: in the lock file (loss), and in the live
// layer's log, so that the next open, in this boot too, believes no more than
// after a power cut: what the kernel failed to write it may still show, until it
// forgets. So the clusters that came since the last mark are as before, which
// is some legal order of the writes since; hosts are told by the loss. The notes
// need not be stable, for a power cut says the same.
func (v *volume) distrust(cause error) {
	var se *vfs.SyncError
	if !errors.As(cause, &se) || errors.Is(cause, errUnsettled) || len(v.live.chain) == 0 {
		return
	}
	v.loss.happened()
	if err := v.loss.note(v.lock); err != nil {
		v.s.log.Error("failed sync not noted in the lock file: the volume must not be closed before it is", "volume", v.id, "error", err)
	}
	if top := v.live.chain[0]; top.idx != nil {
		if err := top.idx.log.append(record{typ: recBoot}); err != nil {
			v.s.log.Error("failed sync not noted in the allocation log: restart the machine before the volume is opened again", "volume", v.id, "error", err)
		}
	}
}

func (v *volume) failedErr() error {
	if f := v.failed.Load(); f != nil {
		return &block.Error{Class: block.Failed, Err: f.err}
	}
	return nil
}

// readyErr returns why no operation may begin.
func (v *volume) readyErr() error {
	if v.leaving.Load() {
		return errLeaving
	}
	return v.failedErr()
}

// check stops the volume if err says that something stable may not be so, and
// returns err.
func (v *volume) check(err error) error {
	if err == nil {
		return nil
	}
	var se *vfs.SyncError
	if errors.As(err, &se) || errors.Is(err, errUnsettled) {
		v.fail(err)
	}
	return err
}

// load opens the volume in v.dir, whose lock is held.
func (v *volume) load() error {
	// What a dead process renamed is there for now: nothing may build on it
	// before it is there for good.
	for _, d := range []string{v.dir, path.Dir(v.dir)} {
		if err := v.fs.SyncDir(d); err != nil {
			return err
		}
	}
	m, err := readManifest(v.fs, v.dir)
	if err != nil {
		return err
	}
	if m.Volume != v.id {
		return fmt.Errorf("%s %w: its manifest is that of volume %s", v.dir, errDamaged, m.Volume)
	}
	v.man, v.layers, v.views = m, map[layerID]*layer{}, map[string]*view{}
	if err := v.sweep(); err != nil {
		return err
	}
	chain, err := v.open(m.Live)
	if err == nil {
		v.live = view{chain: chain, size: m.Size}
		err = v.slot.open(v)
	}
	if err != nil {
		return errors.Join(err, v.closeFiles())
	}
	// What a dead process wrote is in the page cache, not yet on the disk.
	for _, s := range chain[0].segs {
		s.dirty.Store(true)
	}
	if err := v.slot.replay(v); err != nil {
		return errors.Join(err, v.closeFiles())
	}
	return nil
}

// sweep removes files that the manifest does not name: what a change left that
// was cut short before or after its commit.
func (v *volume) sweep() error {
	names, err := v.fs.ReadDir(v.dir)
	if err != nil {
		return err
	}
	keep := v.man.fileNames()
	for _, n := range names {
		if keep[n] {
			continue
		}
		v.s.log.Info("removing a file that is no longer part of its volume", "volume", v.id, "file", n)
		if err := v.fs.Remove(v.dir + "/" + n); err != nil {
			return err
		}
	}
	return nil
}

// fileNames returns the names of all files that belong in the directory.
func (m *manifest) fileNames() map[string]bool {
	keep := map[string]bool{manifestName: true, lockName: true, slotName: true}
	for _, l := range m.Layers {
		for _, f := range l.files(".") {
			keep[f[2:]] = true
		}
	}
	return keep
}

// open returns the open layers from id down.
func (v *volume) open(id layerID) ([]*layer, error) {
	var chain []*layer
	for _, id := range v.man.chain(id) {
		l := v.layers[id]
		if l == nil {
			var err error
			if l, err = v.openLayer(*v.man.layer(id)); err != nil {
				return nil, err
			}
			v.layers[id] = l
		}
		chain = append(chain, l)
	}
	return chain, nil
}

func (v *volume) openLayer(rec layerRec) (l *layer, err error) {
	l = &layer{rec: rec, size: rec.Size}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if err := l.openData(v.fs, v.dir, vfs.ReadWrite); err != nil {
		return l, err
	}
	if err := l.look(v.fs, v.dir); err != nil {
		return l, err
	}
	if err := l.protect(v.fs); err != nil {
		return l, err
	}
	if rec.Parent == nil {
		return l, nil
	}
	return l, v.openIndex(l)
}

// look finds out how many volumes hold the layer.
func (l *layer) look(fsys vfs.FS, dir string) error {
	info, err := fsys.Stat(l.rec.files(dir)[0])
	l.links = info.Links
	return err
}

// protect locks an adopted file against being adopted twice. Where clones
// hold the layer too nobody writes to it.
func (l *layer) protect(fsys vfs.FS) (err error) {
	if l.rec.Adopted == "" || l.links > 1 {
		return nil
	}
	if l.guard, err = fsys.Lock(l.rec.Adopted); errors.Is(err, vfs.ErrLocked) {
		err = fmt.Errorf("%w: %s has been adopted by another volume that is open", ErrInUse, l.rec.Adopted)
	}
	return err
}

// openIndex opens the layer's log. In the boot that wrote it, all of it
// counts; in a later one only what the last mark vouches for, and then the
// rest is taken out of the log and of the data files, unless other volumes
// hold the layer too (it can't change any more then).
func (v *volume) openIndex(l *layer) error {
	name := logName(v.dir, l.rec.ID)
	f, err := v.fs.Open(name, vfs.ReadWrite)
	if err != nil {
		return err
	}
	log, base, tail, err := openLog(f, l.rec.ID, v.boot)
	if err != nil {
		f.Close()
		return err
	}
	l.idx = newIndex(l.rec.Size, log, base)
	if log.booted || !tail.hasBoot {
		if tail.size > tail.end && l.links == 1 {
			if err := f.Truncate(tail.end); err != nil {
				return err
			}
		}
		return log.apply(l.idx, tail.end)
	}
	if err := log.apply(l.idx, tail.vouched); err != nil {
		return err
	}
	if distrusted := tail.boot == [16]byte{}; l.links > 1 || tail.intact() && !distrusted {
		return nil
	}
	return v.recover(l, tail)
}

// recover removes what a power cut left in the layer beyond its last mark.
func (v *volume) recover(l *layer, tail *tailReport) error {
	log := l.idx.log
	lost := int64(0)
	err := log.walk(tail.end, func(r record, at int64) error {
		if at < tail.vouched || r.typ != recPresent {
			return nil
		}
		for c := int64(r.a); c < int64(r.a+r.b) && c < clusters(l.size); c++ {
			s, err := l.idx.get(c)
			if err != nil {
				return err
			}
			if s == present {
				continue
			}
			lost++
			off := c << clusterShift
			if err := l.punch(off, min(clusterSize, l.size-off)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = l.sync()
	}
	if err == nil {
		err = compactLog(v.fs, logName(v.dir, l.rec.ID), l.rec.ID, v.boot, l.idx)
	}
	if err != nil {
		return err
	}
	v.s.log.Info("volume opened after a power cut, or a sync that failed: clusters that were never flushed are as they were before", "volume", v.id, "layer", l.rec.ID, "clusters", lost)
	old := l.idx
	l.idx = nil
	if err := old.log.f.Close(); err != nil {
		return err
	}
	return v.openIndex(l)
}

// unload makes everything stable, compacts the logs and closes the files. No
// request is in flight, and none comes.
func (v *volume) unload() error {
	var err error
	if v.failed.Load() == nil {
		err = v.check(v.flush(v.live.chain[0]))
		if err == nil {
			v.compact()
		}
	}
	if e := v.closeFiles(); err == nil {
		err = e
	}
	return err
}

// compact rewrites the logs that have a tail. The old ones say the same, so a
// failure costs nothing but time at the next open.
func (v *volume) compact() {
	for _, r := range v.man.Layers {
		l := v.layers[r.ID]
		if l == nil || l.idx == nil || l.links > 1 {
			continue
		}
		log := l.idx.log
		if end, vouched := log.position(); !vouched || end == log.tail {
			continue
		}
		if err := compactLog(v.fs, logName(v.dir, l.rec.ID), l.rec.ID, v.boot, l.idx); err != nil {
			v.s.log.Log(context.Background(), slog.LevelWarn, "allocation log not compacted", "volume", v.id, "layer", l.rec.ID, "error", err)
		}
	}
}

func (v *volume) closeFiles() (err error) {
	for _, l := range v.layers {
		if e := l.close(); err == nil {
			err = e
		}
	}
	if e := v.slot.close(); err == nil {
		err = e
	}
	return err
}

// commit makes m the volume's manifest, with the gate held. change is called
// once it is stable, to bring the open layers in line.
func (v *volume) commit(m *manifest) error {
	if err := v.failedErr(); err != nil {
		return err
	}
	if err := v.check(writeManifest(v.fs, v.dir, m)); err != nil {
		return err
	}
	v.man = m
	return nil
}

// restack rebuilds the views from the manifest, with the gate held. All the
// layers concerned are open.
func (v *volume) restack() error {
	chain, err := v.open(v.man.Live)
	if err != nil {
		v.fail(fmt.Errorf("%w: %w", errUnsettled, err))
		return err
	}
	v.live = view{chain: chain, size: v.man.Size}
	for name, w := range v.views {
		chain, err := v.open(v.man.snapshot(name).Layer)
		if err != nil {
			v.fail(fmt.Errorf("%w: %w", errUnsettled, err))
			return err
		}
		w.chain = chain
	}
	return nil
}

// forget closes layers that the manifest no longer names, with the gate held.
func (v *volume) forget(recs []layerRec) {
	for _, r := range recs {
		if l := v.layers[r.ID]; l != nil {
			l.close()
			delete(v.layers, r.ID)
		}
	}
}

// remove removes the files of such layers, which takes its time with large
// ones, so without the gate. What can't be removed now goes at the next open.
func (v *volume) remove(recs []layerRec) {
	for _, r := range recs {
		for _, f := range r.files(v.dir) {
			if err := v.fs.Remove(f); err != nil && !errors.Is(err, vfs.ErrNotExist) {
				v.s.log.Warn("file of a dropped layer not removed", "volume", v.id, "file", f, "error", err)
			}
		}
	}
}
