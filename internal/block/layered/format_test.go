package layered

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"sango/internal/block/layered/crashfs"
	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

func TestRecordVector(t *testing.T) {
	p := make([]byte, recordSize)
	record{recPresent, 3, 5}.encode(p, 0x0102030405060708, 64)
	const want = "01000000" + "7fb7d248" + "0300000000000000" + "0500000000000000"
	if got := hex.EncodeToString(p); got != want {
		t.Errorf("record %s, want %s", got, want)
	}
	if r, ok := decodeRecord(p, 0x0102030405060708, 64); !ok || r != (record{recPresent, 3, 5}) {
		t.Errorf("decoded %v, %v", r, ok)
	}
	for i := range p {
		for bit := range 8 {
			q := bytes.Clone(p)
			q[i] ^= 1 << bit
			if _, ok := decodeRecord(q, 0x0102030405060708, 64); ok {
				t.Fatalf("bit %d of byte %d flipped, and still valid", bit, i)
			}
		}
	}
	if _, ok := decodeRecord(p, 0x0102030405060709, 64); ok {
		t.Error("valid with another salt")
	}
	if _, ok := decodeRecord(p, 0x0102030405060708, 88); ok {
		t.Error("valid at another offset")
	}
	if _, ok := decodeRecord(make([]byte, recordSize), 0, 0); ok {
		t.Error("zeros are a record")
	}
}

func sampleManifest() *manifest {
	root, top := layerRec{ID: san.UUID{1}, Size: 512, Segment: clusterSize}, layerRec{ID: san.UUID{2}, Size: 1024, Segment: clusterSize}
	top.Parent = &root.ID
	return &manifest{
		Volume: san.UUID{9}, Sequence: 3, BlockSize: 512, Physical: 4096, Size: 1024, Live: top.ID, Layers: []layerRec{root, top},
		Snapshots: []snapRec{{Name: "a", Layer: root.ID, Size: 512, Created: time.Unix(1, 0).UTC()}}, Created: time.Unix(0, 0).UTC(),
	}
}

func TestManifestDetectsDamage(t *testing.T) {
	b, err := sampleManifest().encode()
	must(t, err)
	if _, err := parseManifest(b); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		if _, err := parseManifest(b[:i]); err == nil {
			t.Fatalf("the first %d bytes are a manifest", i)
		}
		q := bytes.Clone(b)
		q[i] ^= 4
		if m, err := parseManifest(q); err == nil {
			// Only the case of a hexadecimal digit may change without notice.
			again, _ := m.encode()
			if !bytes.Equal(again, b) {
				t.Fatalf("byte %d flipped: %v", i, m)
			}
		}
	}
}

func TestManifestValidates(t *testing.T) {
	for name, spoil := range map[string]func(*manifest){
		"no live layer":   func(m *manifest) { m.Live = san.UUID{7} },
		"loop":            func(m *manifest) { m.Layers[0].Parent = &m.Layers[1].ID; m.Layers[0].Size = 1024 },
		"missing parent":  func(m *manifest) { m.Layers = m.Layers[1:] },
		"shrinking":       func(m *manifest) { m.Layers[0].Size = 2048 },
		"twice":           func(m *manifest) { m.Layers = append(m.Layers, m.Layers[0]) },
		"size":            func(m *manifest) { m.Size = 1000 },
		"segment":         func(m *manifest) { m.Layers[0].Segment = 5 },
		"snapshot":        func(m *manifest) { m.Snapshots[0].Layer = san.UUID{7} },
		"negative size":   func(m *manifest) { m.Layers[0].Size = -1 },
		"other live size": func(m *manifest) { m.Size = 512 },
	} {
		m := sampleManifest()
		spoil(m)
		if err := m.validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzManifest(f *testing.F) {
	b, _ := sampleManifest().encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			return
		}
		m.prune()
		m.fileNames()
		m.chain(m.Live)
	})
}

// FuzzLog opens arbitrary bytes as an allocation log.
func FuzzLog(f *testing.F) {
	fsys := crashfs.New(1)
	l, err := createLog(fsys, "/log", layerID{1}, [16]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	if err := l.append(record{recPresent, 0, 3}, record{recZeroed, 1, 1}); err != nil {
		f.Fatal(err)
	}
	if err := l.mark(l.end); err != nil {
		f.Fatal(err)
	}
	b, err := vfs.ReadFile(fsys, "/log", 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		fsys := crashfs.New(1)
		h, err := fsys.Open("/log", vfs.Create)
		must(t, err)
		if len(b) > 0 {
			must(t, h.WriteVec([][]byte{b}, 0))
		}
		l, base, tail, err := openLog(h, layerID{1}, [16]byte{1})
		if err != nil {
			return
		}
		x := newIndex(1<<30, l, base)
		if l.apply(x, tail.end) == nil {
			for c := int64(0); c < 100; c++ {
				_, _ = x.get(c) // it must not panic
			}
		}
	})
}

// TestLogCompacts compares an index with what its compacted log says.
func TestLogCompacts(t *testing.T) {
	fsys := crashfs.New(1)
	x := newIndex(5<<30, nil, nil)
	x.mu.Lock()
	for _, r := range []struct {
		c, n int64
		s    state
	}{{0, 3, present}, {pageClusters, pageClusters, zeroed}, {3*pageClusters - 1, 2, present}, {9, 1, copying}, {4 * pageClusters, 1, zeroed}} {
		must(t, x.set(r.c, r.n, r.s))
	}
	x.mu.Unlock()
	f, err := fsys.Open("/log", vfs.Create)
	must(t, err)
	_, err = writeLog(f, layerID{1}, [16]byte{1}, x)
	must(t, err)
	l, base, tail, err := openLog(f, layerID{1}, [16]byte{2})
	must(t, err)
	if !tail.intact() || tail.hasBoot {
		t.Errorf("tail %+v", tail)
	}
	y := newIndex(5<<30, l, base)
	if y.npresent.Load() != 5 || y.nzeroed.Load() != pageClusters+1 {
		t.Errorf("%d present, %d zeroed", y.npresent.Load(), y.nzeroed.Load())
	}
	for c := range int64(5 * pageClusters) {
		want, _ := x.get(c)
		if want == copying {
			want = absent
		}
		if got, err := y.get(c); err != nil || got != want {
			t.Fatalf("cluster %d: %d, want %d (%v)", c, got, want, err)
		}
	}
}
