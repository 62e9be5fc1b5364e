package gateway

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSpaceProblem(t *testing.T) {
	for _, c := range []struct {
		free, total int64
		bad         bool
	}{{10 << 30, 20 << 30, false}, {100 << 20, 20 << 30, true}, {20 << 30, 1000 << 30, true}, {0, 0, true}} {
		for h := everything; h <= volumesAlone; h++ {
			if got := h.problem("d", room{free: c.free, total: c.total}); (got != "") != c.bad {
				t.Errorf("%d of %d: %q", c.free, c.total, got)
			}
		}
	}
}

// elsewhere returns a directory on another filesystem than dir.
func elsewhere(t *testing.T, dir string) string {
	t.Helper()
	for _, at := range []string{"/dev/shm", "/var/tmp", "/tmp"} {
		d, err := os.MkdirTemp(at, "sango-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(d) })
		if apart(dir, d) {
			return d
		}
	}
	t.Fatal("the test needs a second filesystem, such as a tmpfs at /dev/shm")
	return ""
}

// Where volumes are on another disk, that one is looked at.
func TestSpaceOfVolumes(t *testing.T) {
	dir := t.TempDir()
	volumes := elsewhere(t, dir)
	n, err := Open(t.Context(), Config{
		Name: "gw1", Dir: dir, Portals: []Portal{{Name: "a", Listen: "127.0.0.1:0"}}, Cluster: Cluster{Volumes: volumes},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, n)
	total := func(dir string) int64 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		return int64(st.Blocks) * st.Bsize
	}
	st, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.StoreSize != total(volumes) || st.DirSize != total(dir) {
		t.Errorf("the disk of the volumes has %d bytes, that of the directory %d; want %d, %d", st.StoreSize, st.DirSize, total(volumes), total(dir))
	}
	for _, f := range []struct{ check, dir string }{{"space", dir}, {"space of volumes", volumes}} {
		if f, r := find(t, Examine(t.Context(), dir, "", nil, true), f.check), f.dir; !strings.Contains(f.Detail, " of ") {
			t.Errorf("%s: %+v", r, f)
		}
	}
	if f := find(t, Examine(t.Context(), filepath.Join(dir, "new"), volumes, nil, true), "directory of volumes"); f.State != FindingOK || !strings.Contains(f.Detail, volumes) {
		t.Errorf("%+v", f)
	}
}
