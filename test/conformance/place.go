package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sango/test/harness"
)

// place is where tests of one block size are run, one at a time: its targets belong to one worker, because resets and
// reservations of one test would disturb another one.
type place interface {
	// urls of a logical unit of the kind: one, or two for two paths.
	urls(ctx context.Context, k kind) ([]string, error)
	// dirty says that a test failed: what it left behind must not fail the next. It returns an error when the target
	// did not live through the test.
	dirty() error
	close() error
}

// fixed is a place with addresses from the command line: some other target, to compare with.
type fixed map[kind][]string

func (f fixed) urls(_ context.Context, k kind) ([]string, error) {
	switch {
	case len(f[k]) > 0:
		return f[k], nil
	case k == twoPaths && len(f[thin]) == 1:
		return []string{f[thin][0], f[thin][0]}, nil
	case len(f[thin]) > 0:
		return f[thin], nil
	}
	return nil, fmt.Errorf("no -url for kind %s, nor for thin", k)
}

func (f fixed) dirty() error { return nil }
func (f fixed) close() error { return nil }

// The LUNs of the demo that serves all kinds but chap, in the order in which it is told of them.
const (
	lunThin = iota
	lunAligned
	lunReadOnly
	lunRemovable
)

// Account names that look like binary values of text negotiation (RFC 7143 §6.1) and must be taken as names.
var chapUsers = map[int]string{512: "0x53616e676f", 4096: "0bU2FuZ28"}

const chapSecret = "0b0123456789abcd"

// demos is a place with sango demo processes of its own, started when first needed.
type demos struct {
	binary string
	dir    string
	block  int
	far    bool // through a gateway that does not own the volumes, and relays to the one that does

	n      int // how many directories were used
	plain  *harness.Demo
	secret *harness.Demo
	spoilt bool
}

func (p *demos) urls(ctx context.Context, k kind) ([]string, error) {
	if p.spoilt {
		for _, d := range []**harness.Demo{&p.plain, &p.secret} {
			if *d != nil {
				(*d).Kill()
				*d = nil
			}
		}
		p.spoilt = false
	}
	if k == chap {
		if p.secret == nil {
			d, err := p.start(ctx, harness.DemoOptions{
				Volumes:  []string{p.volume("thin", "1000M", 4096, "")},
				CHAPUser: chapUsers[p.block], CHAPSecret: chapSecret,
			})
			if err != nil {
				return nil, err
			}
			p.secret = d
		}
		return []string{p.url(p.secret, 0)}, nil
	}
	if p.plain == nil {
		// 1000 MiB is below the 2^21 blocks that READ(6) addresses, and takes more than the 4 s that the suite waits
		// before it looks at a SANITIZE that is to be running still, at the default rate.
		d, err := p.start(ctx, harness.DemoOptions{Volumes: []string{
			lunThin:      p.volume("thin", "1000M", 4096, ""),
			lunAligned:   p.volume("aligned", "100M", p.block, ""),
			lunReadOnly:  p.volume("readonly", "100M", 4096, ",read-only"),
			lunRemovable: p.volume("removable", "100M", 4096, ",removable"),
		}})
		if err != nil {
			return nil, err
		}
		p.plain = d
	}
	switch k {
	case aligned:
		return []string{p.url(p.plain, lunAligned)}, nil
	case readOnly:
		return []string{p.url(p.plain, lunReadOnly)}, nil
	case removable:
		return []string{p.url(p.plain, lunRemovable)}, nil
	case twoPaths:
		return []string{p.plain.URL(0, lunThin), p.plain.URL(1, lunThin)}, nil
	default:
		return []string{p.url(p.plain, lunThin)}, nil
	}
}

// url returns that of a logical unit: each portal is a gateway, and the first one owns all volumes.
func (p *demos) url(d *harness.Demo, lun int) string {
	if p.far {
		return d.URL(1, lun)
	}
	return d.URL(0, lun)
}

func (p *demos) volume(name, size string, physical int, more string) string {
	return fmt.Sprintf("%s=%s,block=%d,physical=%d%s", name, size, p.block, physical, more)
}

func (p *demos) start(ctx context.Context, o harness.DemoOptions) (*harness.Demo, error) {
	p.n++
	o.Binary, o.Dir = p.binary, filepath.Join(p.dir, strconv.Itoa(p.n))
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	d, err := harness.StartDemo(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, l := range d.Ready.LUNs {
		for _, args := range [][]string{{"set", l.Volume, "--prefer", owner}, {"move", l.Volume, owner}} {
			if _, err := harness.Run(ctx, time.Minute, p.binary, append([]string{"volume", "--dir", d.Dir()}, args...)...); err != nil {
				d.Kill()
				return nil, err
			}
		}
	}
	return d, nil
}

// owner is the gateway that owns all volumes: they stay there, because a move raises a unit attention, which fails a test.
const owner = "demo-1"

func (p *demos) dirty() error {
	p.spoilt = true
	for _, d := range []*harness.Demo{p.plain, p.secret} {
		if d == nil {
			continue
		}
		select {
		case <-d.Done():
			return fmt.Errorf("the target died\n%s", d.Output())
		default:
		}
	}
	return nil
}

func (p *demos) close() error {
	var err error
	for _, d := range []*harness.Demo{p.plain, p.secret} {
		switch {
		case d == nil:
		case p.spoilt:
			d.Kill()
		default:
			err = errors.Join(err, d.Stop())
		}
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}
