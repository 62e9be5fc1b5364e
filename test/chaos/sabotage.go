package main

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sango/test/chaos/history"
)

// impatience is the timeout of the hosts in the sabotage of that name: far less
// than what gateways need to be sure that a host is gone, so that a write which
// is late on its way lands after what came later.
const impatience = 400 * time.Millisecond

// impatientPlan makes some directions so slow that hosts give up.
func impatientPlan(seed uint64, t topology, length time.Duration) []fault {
	r := rand.New(rand.NewPCG(seed, 0x1a7e))
	var plan []fault
	for at := 3 * time.Second; at < length-5*time.Second; at += 2 * time.Second {
		plan = append(plan, fault{
			at: at, last: 1500 * time.Millisecond, kind: "delay-host-portal", a: t.hosts + r.IntN(t.plain), b: r.IntN(t.gateways * t.portals),
			way: 1, arg: 900 * time.Millisecond,
		})
	}
	return plan
}

// rot takes something back that was written: it overwrites a block in the files
// of a gateway that is down with zeros.
func (l *load) rot(gateway int) error {
	v := l.volumes[0]
	a := v.area()
	b := make([]byte, v.block)
	dir := l.site.gateways[gateway].disk.Path
	var done bool
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || done || !d.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		for at := int64(0); ; {
			if at, err = unix.Seek(int(f.Fd()), at, unix.SEEK_DATA); err != nil {
				return nil // no more data
			}
			end, err := unix.Seek(int(f.Fd()), at, unix.SEEK_HOLE)
			if err != nil {
				return nil
			}
			for ; at < end; at += int64(v.block) {
				if _, err := f.ReadAt(b, at); err != nil {
					break
				}
				if bytes.HasPrefix(b, []byte("chaos")) && history.ValueIn(b, make([]byte, v.block)) != history.Torn && at/int64(v.block) >= a.base && at/int64(v.block) < a.base+areaBlocks {
					done = true
					_, err := f.WriteAt(make([]byte, v.block), at)
					return err
				}
			}
			at = end
		}
	})
	if err == nil && !done {
		err = errors.New("nothing to ruin was found")
	}
	return err
}
