package kernelnbd

import (
	"context"
	"errors"
	"fmt"
)

// Feature is something that the driver has had since some version of Linux.
type Feature struct {
	Name  string
	Since string // the first Linux that has it, as "5.14"
	What  string // what it is for
}

// Features are what this package makes use of, the driver itself first. The
// driver cannot be asked for them: the version of the kernel is all there is
// to go by, and what is missing is ignored by it.
var Features = []Feature{
	{"netlink", "4.12", "disks by generic netlink, several connections, LINK_DEAD, dead_conn_timeout"},
	{"resize", "5.3", "RECONFIGURE changes the size of a disk in use"},
	{"backend identifier", "5.14", "no other process takes over a disk by mistake"},
	{"write-zeroes", "6.12", "BLKZEROOUT without sending zeros"},
}

// Support is what the kernel that runs has.
type Support struct {
	Driver  bool   // it is loaded
	Release string // of the kernel, as uname says
	Missing []Feature
}

// Probe looks at the kernel that runs.
func Probe(ctx context.Context) (Support, error) {
	s := Support{Release: release()}
	s.Missing = missing(s.Release)
	_, _, done, err := newGeneric().open(ctx)
	switch {
	case err == nil:
		done()
		s.Driver = true
	case !errors.Is(err, ErrNoDriver):
		return s, err
	}
	return s, nil
}

// missing returns the features that came after release.
func missing(release string) []Feature {
	var m []Feature
	for _, f := range Features {
		if older(release, f.Since) {
			m = append(m, f)
		}
	}
	return m
}

// older reports whether release a is before b; what cannot be read counts as
// 0.0.
func older(a, b string) bool {
	var major, minor, wantMajor, wantMinor int
	_, _ = fmt.Sscanf(a, "%d.%d", &major, &minor) // what cannot be read stays 0
	_, _ = fmt.Sscanf(b, "%d.%d", &wantMajor, &wantMinor)
	return major < wantMajor || major == wantMajor && minor < wantMinor
}
