package crashfs

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sango/internal/block/layered/vfs"
)

func must(t interface{ Fatal(...any) }, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, f *FS, name string) vfs.File {
	t.Helper()
	h, err := f.Open(name, vfs.Create)
	must(t, err)
	return h
}

func write(t *testing.T, h vfs.File, off int64, b byte) {
	t.Helper()
	must(t, h.WriteVec([][]byte{bytes.Repeat([]byte{b}, sector)}, off))
}

func read(t *testing.T, h vfs.File, off int64) byte {
	t.Helper()
	p := make([]byte, 1)
	must(t, h.ReadVec([][]byte{p}, off))
	return p[0]
}

// TestProcessDeath: the page cache, and names, survive it.
func TestProcessDeath(t *testing.T) {
	f := New(1)
	write(t, create(t, f, "/a"), 0, 7)
	f.CrashAt(1)
	if _, err := f.Open("/b", vfs.Create); !errors.Is(err, ErrCrashed) {
		t.Fatal(err)
	}
	if _, err := f.Stat("/a"); !errors.Is(err, ErrCrashed) {
		t.Fatal(err)
	}
	f.Restart(false)
	h, err := f.Open("/a", vfs.ReadOnly)
	must(t, err)
	if got := read(t, h, 0); got != 7 {
		t.Errorf("read %d", got)
	}
}

// TestPowerCut: each of the legal outcomes happens, and no other.
func TestPowerCut(t *testing.T) {
	seen := map[[3]byte]bool{}
	lost := false
	for seed := range uint64(300) {
		f := New(seed)
		h := create(t, f, "/a")
		must(t, h.Truncate(3*sector))
		write(t, h, 2*sector, 9)
		must(t, h.Sync())
		must(t, f.SyncDir("/"))
		write(t, h, 0, 1)
		write(t, h, 0, 2)
		write(t, h, sector, 3)
		create(t, f, "/b")
		f.Restart(true)
		h, err := f.Open("/a", vfs.ReadWrite)
		must(t, err)
		seen[[3]byte{read(t, h, 0), read(t, h, sector), read(t, h, 2*sector)}] = true
		if _, err := f.Stat("/b"); errors.Is(err, fs.ErrNotExist) {
			lost = true
		}
	}
	if len(seen) != 6 || !lost {
		t.Errorf("outcomes %v, name lost %v", seen, lost)
	}
	for s := range seen {
		if s[0] > 2 || s[1] != 0 && s[1] != 3 || s[2] != 9 {
			t.Errorf("outcome %v", s)
		}
	}
}

// TestRename: after a power cut the name is one file or the other.
func TestRename(t *testing.T) {
	seen := map[byte]bool{}
	for seed := range uint64(50) {
		f := New(seed)
		for i, name := range []string{"/a", "/a.tmp"} {
			h := create(t, f, name)
			write(t, h, 0, byte(i+1))
			must(t, h.Sync())
		}
		must(t, f.SyncDir("/"))
		must(t, f.Rename("/a.tmp", "/a"))
		f.Restart(true)
		h, err := f.Open("/a", vfs.ReadOnly)
		must(t, err)
		seen[read(t, h, 0)] = true
	}
	if len(seen) != 2 {
		t.Errorf("outcomes %v", seen)
	}
}

func TestDeadHandles(t *testing.T) {
	f := New(1)
	h := create(t, f, "/a")
	l, err := f.Lock("/a")
	must(t, err)
	if _, err := f.Lock("/a"); !errors.Is(err, vfs.ErrLocked) {
		t.Fatal(err)
	}
	f.Restart(false)
	if err := h.Sync(); !errors.Is(err, ErrCrashed) {
		t.Errorf("handle of a dead process: %v", err)
	}
	must(t, l.Close())
	if _, err := f.Lock("/a"); err != nil {
		t.Errorf("lock of a dead process: %v", err)
	}
}

// TestLikeKernel runs random calls against the model and a directory of the
// machine, which must agree.
func TestLikeKernel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		root := t.TempDir()
		model, real := New(1), vfs.OS{}
		files := map[string][2]vfs.File{}
		defer func() {
			for _, f := range files {
				f[1].Close()
			}
		}()
		name := rapid.SampledFrom([]string{"a", "b", "c"})
		off := rapid.Custom(func(r *rapid.T) int64 { return int64(rapid.IntRange(0, 40).Draw(r, "k")) * 512 })
		same := func(a, b error) bool {
			r.Helper()
			if (a == nil) != (b == nil) || errors.Is(a, fs.ErrNotExist) != errors.Is(b, fs.ErrNotExist) || errors.Is(a, fs.ErrExist) != errors.Is(b, fs.ErrExist) {
				r.Fatalf("model: %v, kernel: %v", a, b)
			}
			return a == nil
		}
		both := func(n string, fn func(f vfs.File) error) {
			if f, ok := files[n]; ok {
				same(fn(f[0]), fn(f[1]))
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"": func(r *rapid.T) {
				for _, n := range []string{"a", "b", "c"} {
					a, aerr := model.Stat("/" + n)
					b, berr := real.Stat(filepath.Join(root, n))
					if same(aerr, berr) && (a.Size != b.Size || a.Links != b.Links) {
						r.Fatalf("%s: model %+v, kernel %+v", n, a, b)
					}
				}
				a, _ := model.ReadDir("/")
				b, _ := real.ReadDir(root)
				if !slices.Equal(a, b) {
					r.Fatalf("names: model %v, kernel %v", a, b)
				}
			},
			"open": func(r *rapid.T) {
				n := name.Draw(r, "name")
				mode := rapid.SampledFrom([]vfs.Mode{vfs.ReadWrite, vfs.Create, vfs.Replace}).Draw(r, "mode")
				a, aerr := model.Open("/"+n, mode)
				b, berr := real.Open(filepath.Join(root, n), mode)
				if same(aerr, berr) {
					if old, ok := files[n]; ok {
						old[1].Close()
					}
					files[n] = [2]vfs.File{a, b}
				}
			},
			"write": func(r *rapid.T) {
				p := rapid.SliceOfN(rapid.Byte(), 1, 1500).Draw(r, "data")
				at := off.Draw(r, "off")
				both(name.Draw(r, "name"), func(f vfs.File) error { return f.WriteVec([][]byte{p[:len(p)/2], p[len(p)/2:]}, at) })
			},
			"read": func(r *rapid.T) {
				var got [][]byte
				at := off.Draw(r, "off")
				both(name.Draw(r, "name"), func(f vfs.File) error {
					p := bytes.Repeat([]byte{0xee}, 3000)
					got = append(got, p)
					return f.ReadVec([][]byte{p[:1000], p[1000:]}, at)
				})
				if len(got) == 2 && !bytes.Equal(got[0], got[1]) {
					r.Fatal("contents differ")
				}
			},
			"truncate": func(r *rapid.T) {
				at := off.Draw(r, "size")
				both(name.Draw(r, "name"), func(f vfs.File) error { return f.Truncate(at) })
			},
			"punch": func(r *rapid.T) {
				at, n := off.Draw(r, "off"), off.Draw(r, "n")+512
				both(name.Draw(r, "name"), func(f vfs.File) error { return f.Punch(at, n) })
			},
			"zero": func(r *rapid.T) {
				at, n := off.Draw(r, "off"), off.Draw(r, "n")+512
				both(name.Draw(r, "name"), func(f vfs.File) error { return f.Zero(at, n) })
			},
			"sync": func(r *rapid.T) { both(name.Draw(r, "name"), vfs.File.Sync) },
			"rename": func(r *rapid.T) {
				a, b := name.Draw(r, "from"), name.Draw(r, "to")
				if a != b {
					same(model.Rename("/"+a, "/"+b), real.Rename(filepath.Join(root, a), filepath.Join(root, b)))
				}
			},
			"link": func(r *rapid.T) {
				a, b := name.Draw(r, "from"), name.Draw(r, "to")
				same(model.Link("/"+a, "/"+b), real.Link(filepath.Join(root, a), filepath.Join(root, b)))
			},
			"remove": func(r *rapid.T) {
				n := name.Draw(r, "name")
				same(model.Remove("/"+n), real.Remove(filepath.Join(root, n)))
			},
		})
	})
}
