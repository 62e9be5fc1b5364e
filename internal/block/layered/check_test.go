package layered

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sango/internal/block"
)

// damage is one way to spoil a volume's files, and what the check says.
var damages = []struct {
	name, glob string
	spoil      func(t *testing.T, path string)
	want       string
	severity   Severity
	opens      bool
}{
	{"manifest", "manifest", flip(40), "checksum", Damage, false},
	{"manifest head", "manifest", flip(0), "first line", Damage, false},
	{"log header", "*.log", flip(20), "header", Damage, false},
	{"log directory", "*.log", flip(66), "directory", Damage, false},
	{"log page", "*.log", flip(64 + 16 + 5), "index page", Damage, false},
	{"short log", "*.log", cut(70), "checksum", Damage, false},
	{"no log", "*.log", remove, "no such file", Damage, false},
	{"no data", "*.0000", remove, "no such file", Damage, false},
	{"short data", "*.0000", cut(512), "bytes", Damage, false},
	{"no slot", "atomic", remove, "atomic", Damage, false},
	{"left-over", "manifest", func(t *testing.T, p string) { must(t, os.WriteFile(filepath.Dir(p)+"/stray.tmp", nil, 0o600)) }, "stray.tmp", Note, true},
}

func flip(at int64) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		b, err := os.ReadFile(path)
		must(t, err)
		b[at] ^= 0x10
		must(t, os.WriteFile(path, b, 0o600))
	}
}

func cut(size int64) func(*testing.T, string) {
	return func(t *testing.T, path string) { must(t, os.Truncate(path, size)) }
}

func remove(t *testing.T, path string) { must(t, os.Remove(path)) }

func TestCheck(t *testing.T) {
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			s := openStore(t, t.TempDir(), Options{})
			id, dev := newVolume(t, s, 4<<20)
			must(t, s.Snapshot(id, "a"))
			fill(t, dev, 0, 4096, 1)
			rep, err := s.Check(id)
			must(t, err)
			if rep.Skipped != 1 || !rep.OK() {
				t.Errorf("a volume in use: %v", rep)
			}
			must(t, dev.Close())
			rep, err = s.Check()
			must(t, err)
			if !rep.OK() || len(rep.Problems) > 0 || rep.Volumes != 1 || rep.Layers != 2 || rep.Clusters != 1 {
				t.Fatalf("a sound store: %v", rep)
			}
			files, err := filepath.Glob(s.volumeDir(id) + "/" + d.glob)
			must(t, err)
			d.spoil(t, files[0])
			rep, err = s.Check()
			must(t, err)
			if len(rep.Problems) == 0 || rep.OK() != (d.severity != Damage) || !strings.Contains(rep.String(), d.want) {
				t.Errorf("the check says: %v, want something about %q", rep, d.want)
			}
			dev, err = s.Open(id)
			if err == nil {
				// What is read lazily shows when it is read.
				err = block.ReadAt(dev, make([]byte, 4096), 0)
				dev.Close()
			}
			if (err == nil) != d.opens {
				t.Errorf("open and read: %v", err)
			}
		})
	}
}
