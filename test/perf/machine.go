package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sango/test/harness"
)

// machine is where a run took place.
type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Kernel     string `json:"kernel"`
	MemoryMiB  int64  `json:"memory_mib"`
	Filesystem string `json:"filesystem"` // that of the volumes
	OS         string `json:"os"`
	Congestion string `json:"tcp_congestion_control"` // what TCP connections are given
}

func thisMachine(dir string) (machine, error) {
	m := machine{CPU: "unknown", Cores: runtime.NumCPU()}
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	if s := field(string(b), "model name"); s != "" {
		m.CPU = s
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return m, err
	}
	m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	if b, err = os.ReadFile("/proc/meminfo"); err != nil {
		return m, err
	}
	kb, err := strconv.ParseInt(strings.TrimSuffix(field(string(b), "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return m, err
	}
	m.MemoryMiB = kb >> 10
	if b, err = os.ReadFile("/proc/self/mounts"); err != nil {
		return m, err
	}
	m.Filesystem = filesystem(string(b), dir)
	if b, err = os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err != nil {
		return m, err
	}
	m.Congestion = strings.TrimSpace(string(b))
	if b, err = os.ReadFile("/etc/os-release"); err == nil {
		_, after, _ := strings.Cut(string(b), "PRETTY_NAME=\"")
		m.OS, _, _ = strings.Cut(after, "\"")
	}
	return m, nil
}

// filesystem returns the type of what is mounted where dir is; mounts are lines as in /proc/self/mounts.
func filesystem(mounts, dir string) string {
	var at, kind string
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		rel, err := filepath.Rel(f[1], dir)
		if err == nil && filepath.IsLocal(rel) && len(f[1]) >= len(at) {
			at, kind = f[1], f[2]
		}
	}
	return kind
}

// field returns the first value of a name in lines of NAME : VALUE.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// tool is a program whose version is told.
type tool struct {
	name string
	args []string
}

var tools = []tool{
	{"tgtd", []string{"-V"}},
	{"qemu-img", []string{"--version"}},
	{"nbdkit", []string{"--version"}},
	{"fio", []string{"--version"}},
	{"iperf3", []string{"--version"}},
	{"iscsi-perf", nil}, // its package tells
}

var versionNumber = regexp.MustCompile(`\d+\.\d+(\.\d+)*`)

// versions of everything that takes part.
func versions(ctx context.Context) (map[string]string, error) {
	v := map[string]string{"go": strings.TrimPrefix(runtime.Version(), "go"), "sango": commit(ctx)}
	for _, t := range tools {
		if t.args == nil {
			out, err := harness.Run(ctx, time.Minute, "dpkg-query", "-W", "-f", "${Version}", "libiscsi-bin")
			if err != nil {
				return nil, err
			}
			v["libiscsi"] = versionNumber.FindString(out)
			continue
		}
		out, err := harness.Run(ctx, time.Minute, t.name, t.args...)
		if err != nil {
			return nil, err
		}
		n := versionNumber.FindString(out)
		if n == "" {
			return nil, fmt.Errorf("%s tells no version: %q", t.name, out)
		}
		v[t.name] = n
	}
	return v, nil
}

// commit returns the commit of the tree that this runs in, with a plus where files of it have changed.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	id := strings.TrimSpace(string(out))
	if exec.CommandContext(ctx, "git", "diff", "--quiet", "HEAD", "--", "cmd", "internal", "go.mod", "go.sum").Run() != nil {
		id += "+"
	}
	return id
}
