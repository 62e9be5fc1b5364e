package layered

import (
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"path"
	"sync"

	"sango/internal/block/layered/vfs"
)

const (
	logMagic    = "SANGOLOG"
	logVersion  = 1
	logHeader   = 64 // bytes
	pageRefSize = 16 // bytes
	// firstSlot is the first slot number of a stored page; smaller numbers are
	// states that hold for the whole page.
	firstSlot = 3
	// maxPages is what the largest volume needs.
	maxPages = 1 << (46 - clusterShift - pageShift)
	// tailChunk is how much of a tail is read at a time, in bytes.
	tailChunk = recordSize << 12
)

// pageRef is an entry of the log's page directory.
type pageRef struct {
	slot     uint32
	sum      uint32
	npresent uint32
	nzeroed  uint32
}

// logFile is the allocation log of a layer: a compacted part, written once,
// and a tail to which records are appended.
type logFile struct {
	f        vfs.File
	layer    layerID
	salt     uint64
	slots    int64 // offset of the first page
	tail     int64 // offset of the first record
	boot     [16]byte
	mu       sync.Mutex // guards what follows, and keeps appends in order
	end      int64      // where the next record goes
	allocs   int64      // end of the last record that is not a mark or boot record
	marked   int64      // the last mark vouches for what lies before it
	reserved int64      // end of the disk space that was reserved
	booted   bool       // the tail's last boot record is of this boot
	buf      []byte
}

// tailReport is what opening a log found in its tail.
type tailReport struct {
	end     int64 // end of the valid records
	vouched int64 // what the last mark vouches for
	allocs  int64 // end of the last allocation record
	boot    [16]byte
	hasBoot bool
	size    int64 // of the file
}

// intact reports whether all that the tail holds counts in any boot.
func (t *tailReport) intact() bool { return t.allocs <= t.vouched && t.size == t.end }

// openLog reads the fixed parts of a log and looks through its tail.
func openLog(f vfs.File, layer layerID, boot [16]byte) (*logFile, []pageRef, *tailReport, error) {
	info, err := f.Info()
	if err != nil {
		return nil, nil, nil, err
	}
	bad := func(what string) error {
		return fmt.Errorf("allocation log of layer %s %w: %s", layer, errDamaged, what)
	}
	h := make([]byte, logHeader)
	if err := f.ReadVec([][]byte{h}, 0); err != nil {
		return nil, nil, nil, err
	}
	sum := le.Uint32(h[12:])
	le.PutUint32(h[12:], 0)
	switch {
	case string(h[:8]) != logMagic:
		return nil, nil, nil, bad("it does not start as a log does")
	case le.Uint32(h[8:]) != logVersion:
		return nil, nil, nil, fmt.Errorf("allocation log of layer %s has format version %d, this program knows %d", layer, le.Uint32(h[8:]), logVersion)
	case crc32.Checksum(h, castagnoli) != sum:
		return nil, nil, nil, bad("checksum of the header does not match")
	case layerID(h[16:32]) != layer:
		return nil, nil, nil, bad("it is the log of another layer")
	}
	npages, nslots := le.Uint64(h[32:]), le.Uint64(h[40:])
	if npages > maxPages || nslots > npages {
		return nil, nil, nil, bad("more pages than the largest volume has")
	}
	l := &logFile{f: f, layer: layer, salt: le.Uint64(h[48:]), boot: boot}
	l.slots = logHeader + int64(npages)*pageRefSize
	l.tail = l.slots + int64(nslots)*pageBytes
	d := make([]byte, npages*pageRefSize)
	if len(d) > 0 {
		if err := f.ReadVec([][]byte{d}, logHeader); err != nil {
			return nil, nil, nil, err
		}
	}
	if crc32.Checksum(d, castagnoli) != le.Uint32(h[56:]) {
		return nil, nil, nil, bad("checksum of the page directory does not match")
	}
	base := make([]pageRef, npages)
	for i := range base {
		e := d[i*pageRefSize:]
		base[i] = pageRef{le.Uint32(e), le.Uint32(e[4:]), le.Uint32(e[8:]), le.Uint32(e[12:])}
		if uint64(base[i].slot) >= nslots+firstSlot {
			return nil, nil, nil, bad("the directory names a page that is not there")
		}
	}
	if info.Size < l.tail {
		return nil, nil, nil, bad("it is shorter than its header says")
	}
	t := &tailReport{end: l.tail, vouched: l.tail, allocs: l.tail, size: info.Size}
	err = l.walk(info.Size, func(r record, at int64) error {
		t.end = at + recordSize
		switch r.typ {
		case recMark:
			t.vouched = int64(r.a)
		case recBoot:
			le.PutUint64(t.boot[:], r.a)
			le.PutUint64(t.boot[8:], r.b)
			t.hasBoot = true
		default:
			t.allocs = t.end
		}
		return nil
	})
	if t.vouched < l.tail || t.vouched > t.end {
		return nil, nil, nil, bad("a mark vouches for what is not there")
	}
	l.end, l.allocs, l.marked = t.end, t.allocs, t.vouched
	l.booted = t.hasBoot && t.boot == boot
	if l.booted {
		// The mark of a process that died may be in the page cache only: the
		// next flush sets another.
		l.marked = l.tail
	}
	return l, base, t, err
}

// walk calls fn for each valid record before limit, up to the first that is
// not valid.
func (l *logFile) walk(limit int64, fn func(r record, at int64) error) error {
	buf := make([]byte, min(tailChunk, max(0, limit-l.tail)))
	for at := l.tail; at+recordSize <= limit; {
		b := buf[:min(int64(len(buf)), limit-at)]
		b = b[:len(b)/recordSize*recordSize]
		if err := l.f.ReadVec([][]byte{b}, at); err != nil {
			return err
		}
		for ; len(b) > 0; b = b[recordSize:] {
			r, ok := decodeRecord(b, l.salt, at)
			if !ok {
				return nil
			}
			if err := fn(r, at); err != nil {
				return err
			}
			at += recordSize
		}
	}
	return nil
}

// apply replays into x the records that lie before limit.
func (l *logFile) apply(x *index, limit int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	max := uint64(len(x.dir)) << pageShift
	return l.walk(limit, func(r record, at int64) error {
		var s state
		switch r.typ {
		case recPresent:
			s = present
		case recZeroed:
			s = zeroed
		default:
			return nil
		}
		if r.a >= max || r.b > max-r.a {
			return fmt.Errorf("allocation log of layer %s %w: the record at %d names clusters past the end", l.layer, errDamaged, at)
		}
		return x.set(int64(r.a), int64(r.b), s)
	})
}

func (l *logFile) readPage(r pageRef) (*page, error) {
	b := make([]byte, pageBytes)
	if err := l.f.ReadVec([][]byte{b}, l.slots+int64(r.slot-firstSlot)*pageBytes); err != nil {
		return nil, err
	}
	p, err := decodePage(b, r.sum)
	if err != nil {
		return nil, fmt.Errorf("allocation log of layer %s: %w", l.layer, err)
	}
	return p, nil
}

// append adds records. After an error none of them counts.
func (l *logFile) append(recs ...record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	buf := l.buf[:0]
	if !l.booted {
		recs = append([]record{{recBoot, le.Uint64(l.boot[:]), le.Uint64(l.boot[8:])}}, recs...)
	}
	at := l.end
	allocs := l.allocs
	for _, r := range recs {
		buf = append(buf, make([]byte, recordSize)...)
		r.encode(buf[len(buf)-recordSize:], l.salt, at)
		at += recordSize
		if r.typ == recPresent || r.typ == recZeroed {
			allocs = at
		}
	}
	l.buf = buf
	if err := l.f.WriteVec([][]byte{buf}, l.end); err != nil {
		return err
	}
	l.end, l.allocs, l.booted = at, allocs, true
	return nil
}

// reserve gives the next n bytes of records disk space. What was reserved
// before counts, as long as half of it is left.
func (l *logFile) reserve(n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reserved-l.end >= n/2 {
		return nil
	}
	if err := l.f.Allocate(l.end, n); err != nil {
		return err
	}
	l.reserved = l.end + n
	return nil
}

// position returns where the allocation records end, and whether the last
// mark vouches for all of them.
func (l *logFile) position() (end int64, vouched bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.allocs, l.allocs <= l.marked
}

// mark vouches for what lies before end, and makes the log stable. The data
// is stable already.
func (l *logFile) mark(end int64) error {
	if err := l.append(record{recMark, uint64(end), 0}); err != nil {
		return err
	}
	if err := l.f.Sync(); err != nil {
		return err
	}
	l.mu.Lock()
	l.marked = max(l.marked, end)
	l.mu.Unlock()
	return nil
}

// createLog writes the log of a new layer, stable but for its name.
func createLog(fsys vfs.FS, name string, layer layerID, boot [16]byte) (*logFile, error) {
	f, err := fsys.Open(name, vfs.Replace)
	if err != nil {
		return nil, err
	}
	l, err := writeLog(f, layer, boot, nil)
	if err != nil {
		f.Close()
	}
	return l, err
}

// writeLog fills f with the compacted form of x, and syncs it. x may be nil.
func writeLog(f vfs.File, layer layerID, boot [16]byte, x *index) (*logFile, error) {
	var salt [8]byte
	rand.Read(salt[:])
	l := &logFile{f: f, layer: layer, salt: le.Uint64(salt[:]), boot: boot}
	var refs []pageRef
	if x != nil {
		refs = make([]pageRef, len(x.dir))
	}
	l.slots = logHeader + int64(len(refs))*pageRefSize
	b := make([]byte, pageBytes)
	nslots := uint32(0)
	for i := range refs {
		p := x.dir[i].Load()
		if p == nil {
			x.mu.Lock()
			var err error
			p, err = x.load(int64(i))
			x.mu.Unlock()
			if err != nil {
				return nil, err
			}
		}
		if s, ok := p.uniform(); ok {
			refs[i].slot = uint32(s)
		} else {
			p.encode(b)
			refs[i].slot, refs[i].sum = nslots+firstSlot, crc32.Checksum(b, castagnoli)
			if err := f.WriteVec([][]byte{b}, l.slots+int64(nslots)*pageBytes); err != nil {
				return nil, err
			}
			nslots++
		}
		np, nz := p.tally()
		refs[i].npresent, refs[i].nzeroed = uint32(np), uint32(nz)
	}
	l.tail = l.slots + int64(nslots)*pageBytes
	l.end, l.allocs, l.marked = l.tail, l.tail, l.tail
	d := make([]byte, logHeader+len(refs)*pageRefSize)
	for i, r := range refs {
		e := d[logHeader+i*pageRefSize:]
		le.PutUint32(e, r.slot)
		le.PutUint32(e[4:], r.sum)
		le.PutUint32(e[8:], r.npresent)
		le.PutUint32(e[12:], r.nzeroed)
	}
	h := d[:logHeader]
	copy(h, logMagic)
	le.PutUint32(h[8:], logVersion)
	copy(h[16:], layer[:])
	le.PutUint64(h[32:], uint64(len(refs)))
	le.PutUint64(h[40:], uint64(nslots))
	le.PutUint64(h[48:], l.salt)
	le.PutUint32(h[56:], crc32.Checksum(d[logHeader:], castagnoli))
	le.PutUint32(h[12:], crc32.Checksum(h, castagnoli))
	if err := f.WriteVec([][]byte{d}, 0); err != nil {
		return nil, err
	}
	return l, f.Sync()
}

// uniform reports whether all of the page is in one state that can be stored.
func (p *page) uniform() (state, bool) {
	w := p.w[0].Load()
	for i := range p.w {
		if p.w[i].Load() != w {
			return 0, false
		}
	}
	for s := absent; s <= zeroed; s++ {
		if w == uint64(s)*0x5555555555555555 {
			return s, true
		}
	}
	return 0, false
}

// compactLog replaces the log by its compacted form: written beside it, synced
// and renamed over it. The old one stands until then, and says the same.
func compactLog(fsys vfs.FS, name string, layer layerID, boot [16]byte, x *index) error {
	f, err := fsys.Open(name+tmpSuffix, vfs.Replace)
	if err != nil {
		return err
	}
	_, err = writeLog(f, layer, boot, x)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = fsys.Remove(name + tmpSuffix) // the next open does it else
		return err
	}
	if err := fsys.Rename(name+tmpSuffix, name); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}
