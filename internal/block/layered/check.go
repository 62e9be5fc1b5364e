package layered

import (
	"errors"
	"fmt"
	"strings"

	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// Severity says how bad a problem is.
type Severity uint8

// The severities, worst last.
const (
	Note    Severity = iota + 1 // left over from a crash; the next open of the volume removes it
	Warning                     // something to look at; no data is concerned
	Damage                      // data is, or may be, lost
)

// String returns the severity in lower case.
func (s Severity) String() string {
	switch s {
	case Note:
		return "note"
	case Warning:
		return "warning"
	case Damage:
		return "damage"
	}
	return "unknown"
}

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is one finding of a check.
type Problem struct {
	Volume   san.UUID `json:"volume,omitzero"` // zero: the store itself
	Severity Severity `json:"severity"`
	What     string   `json:"what"`
	Advice   string   `json:"advice,omitempty"`
}

// String returns the problem on one line.
func (p Problem) String() string {
	s := p.Severity.String() + ": "
	if !p.Volume.IsZero() {
		s += "volume " + p.Volume.String() + ": "
	}
	s += p.What
	if p.Advice != "" {
		s += "; " + p.Advice
	}
	return s
}

// Report is the outcome of a check.
type Report struct {
	Volumes  int       `json:"volumes"`
	Layers   int       `json:"layers"` // counted once for each volume that holds it
	Clusters int64     `json:"clusters"`
	Skipped  int       `json:"skipped"` // volumes in use: not looked at
	Problems []Problem `json:"problems,omitempty"`
}

// OK is the verdict: no damage.
func (r *Report) OK() bool {
	for _, p := range r.Problems {
		if p.Severity == Damage {
			return false
		}
	}
	return true
}

func (r *Report) add(id san.UUID, s Severity, advice, format string, a ...any) {
	r.Problems = append(r.Problems, Problem{id, s, fmt.Sprintf(format, a...), advice})
}

// Check looks through volumes that nobody has open, all of the store without
// ids, and changes nothing: manifests, layer files and their sizes, allocation
// logs with all their pages and records, left-overs. The error is about the
// check, the report about the store.
func (s *Store) Check(ids ...san.UUID) (*Report, error) {
	rep := new(Report)
	root := s.dir + "/" + volumesName
	names := make([]string, 0, len(ids))
	for _, id := range ids {
		names = append(names, id.String())
	}
	if len(ids) == 0 {
		var err error
		if names, err = s.fs.ReadDir(root); err != nil {
			return nil, fmt.Errorf("check store %s: %w", s.dir, err)
		}
	}
	for _, n := range names {
		id, err := san.ParseUUID(n)
		if err != nil {
			rep.add(san.UUID{}, Warning, "move it elsewhere", "%s/%s is no volume", root, n)
			continue
		}
		if err := s.checkVolume(rep, id); err != nil {
			return nil, fmt.Errorf("check volume %s: %w", id, err)
		}
	}
	return rep, nil
}

const restoreAdvice = "restore the volume from a copy, or copy off what can be read"

func (s *Store) checkVolume(rep *Report, id san.UUID) error {
	dir := s.volumeDir(id)
	if _, err := s.fs.Stat(dir); errors.Is(err, vfs.ErrNotExist) {
		return ErrNotFound
	}
	lock, err := s.fs.Lock(dir + "/" + lockName)
	if errors.Is(err, vfs.ErrLocked) {
		rep.Skipped++
		rep.add(id, Warning, "close it and check again", "not checked: it is in use")
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	m, err := readManifest(s.fs, dir)
	switch {
	case errors.Is(err, vfs.ErrNotExist):
		rep.add(id, Note, "it goes when a volume of this id is made, or remove the directory", "a volume that was never finished, or not wholly deleted")
		return nil
	case err != nil:
		rep.Volumes++
		rep.add(id, Damage, restoreAdvice, "%v", err)
		return nil
	}
	rep.Volumes++
	if m.Volume != id {
		rep.add(id, Damage, "move the directory back to where it belongs", "its manifest is that of volume %s", m.Volume)
	}
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	keep := m.fileNames()
	for _, n := range names {
		if !keep[n] {
			rep.add(id, Note, "the next open removes it", "file %s is not part of the volume", n)
		}
	}
	for i := range m.Layers {
		rep.Layers++
		if err := s.checkLayer(rep, m, &m.Layers[i], dir); err != nil {
			rep.add(id, Damage, restoreAdvice, "layer %s: %v", m.Layers[i].ID, err)
		}
	}
	s.checkSlot(rep, m, dir)
	return nil
}

// checkLayer reports what is wrong with a layer as an error.
func (s *Store) checkLayer(rep *Report, m *manifest, r *layerRec, dir string) error {
	l := &layer{rec: *r, size: r.Size}
	defer l.close()
	if err := l.openData(s.fs, dir, vfs.ReadOnly); err != nil {
		return err
	}
	if err := l.look(s.fs, dir); err != nil {
		return err
	}
	if r.Parent == nil {
		return nil
	}
	f, err := s.fs.Open(logName(dir, r.ID), vfs.ReadOnly)
	if err != nil {
		return err
	}
	log, base, tail, err := openLog(f, r.ID, s.boot)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.idx = newIndex(r.Size, log, base)
	end := tail.end
	if tail.hasBoot && tail.boot != s.boot {
		end = tail.vouched
		if r.ID != m.Live && !tail.intact() && !mergeInto(m, r) {
			return fmt.Errorf("%w: it is frozen, but its log was not stable when the power went", errDamaged)
		}
	}
	if err := log.apply(l.idx, end); err != nil {
		return err
	}
	limit := clusters(r.Size)
	for c := int64(0); ; {
		at, n, st, err := l.idx.next(c, int64(len(l.idx.dir))<<pageShift, pageClusters)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if at+n > limit && st == present {
			return fmt.Errorf("%w: its log names clusters past its end", errDamaged)
		}
		if st == present {
			rep.Clusters += n
		}
		c = at + n
	}
}

// mergeInto reports whether a merge into the layer may have been cut short:
// then its log may end with records that nothing vouches for.
func mergeInto(m *manifest, r *layerRec) bool {
	return !m.named(r.ID) && len(m.children(r.ID)) == 1
}

func (s *Store) checkSlot(rep *Report, m *manifest, dir string) {
	f, err := s.fs.Open(dir+"/"+slotName, vfs.ReadOnly)
	if err != nil {
		rep.add(m.Volume, Damage, restoreAdvice, "slot of atomic writes: %v", err)
		return
	}
	sl := slot{f: f}
	defer sl.close()
	data, off, err := sl.read()
	switch {
	case err != nil:
		rep.add(m.Volume, Damage, restoreAdvice, "slot of atomic writes: %v", err)
	case data != nil && (off < 0 || off > m.Size-int64(len(data))):
		rep.add(m.Volume, Damage, restoreAdvice, "slot of atomic writes: it holds a write past the end")
	case data != nil:
		rep.add(m.Volume, Note, "the next open finishes it", "an atomic write of %d bytes at %d was cut short", len(data), off)
	}
}

// String returns the report as people read it, with the verdict last.
func (r *Report) String() string {
	var b strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintln(&b, p)
	}
	fmt.Fprintf(&b, "%d volumes, %d layers, %d clusters in allocation logs: ", r.Volumes, r.Layers, r.Clusters)
	if r.OK() {
		b.WriteString("no damage")
	} else {
		b.WriteString("DAMAGED")
	}
	if r.Skipped > 0 {
		fmt.Fprintf(&b, " (%d in use, not looked at)", r.Skipped)
	}
	return b.String() + "\n"
}
