package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"sango/internal/iscsi/iscsitest"
	"sango/internal/san"
)

// volume is a volume of the demo under test.
type volume struct {
	name  string
	lun   san.LUN
	block int // bytes
	model *model
}

// connect opens a session of its own to the volume's target.
func connect(addr, target string, isid byte, lun san.LUN) (*iscsitest.Conn, error) {
	c, err := iscsitest.Dial(addr)
	if err != nil {
		return nil, err
	}
	err = c.Login(iscsitest.Login{Initiator: "iqn.2026-11.example:crash", Target: target, ISID: san.ISID{0x80, 0, 0, 0, 0, isid}})
	if err == nil {
		_, err = c.Ready(lun.Field())
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// load is writers at work on a demo.
type load struct {
	versions atomic.Uint64 // the last version given out
	acked    atomic.Int64  // commands acknowledged
	killed   atomic.Bool   // from now on errors are expected
	enough   chan struct{} // closed when acked reaches the number asked for
	until    int64
	once     sync.Once
	wg       sync.WaitGroup
	mu       sync.Mutex
	errs     []error // errors of writers before the kill
}

// start lets n writers, each with a connection and a share of the slots of its own, write to the volume until their
// connections break.
func (l *load) start(seed uint64, portals []string, target string, v *volume, n int, isid byte) error {
	for w := range n {
		c, err := connect(portals[w%len(portals)], target, isid+byte(w), v.lun)
		if err != nil {
			return err
		}
		per := len(v.model.slots) / n
		r := rand.New(rand.NewPCG(seed, uint64(isid)+uint64(w)))
		l.wg.Go(func() {
			defer c.Close()
			for {
				if err := l.one(c, v, r, w*per, per); err != nil {
					if !l.killed.Load() {
						l.fail(fmt.Errorf("volume %s, writer %d: %w", v.name, w, err))
					}
					return
				}
				if l.acked.Add(1) == l.until {
					l.once.Do(func() { close(l.enough) })
				}
			}
		})
	}
	return nil
}

func (l *load) fail(err error) {
	l.mu.Lock()
	l.errs = append(l.errs, err)
	l.mu.Unlock()
	l.once.Do(func() { close(l.enough) })
}

// one runs one command on slots of [base, base+size): mostly writes of 4 KiB to 256 KiB, now and then with FUA, some
// discards and flushes.
func (l *load) one(c *iscsitest.Conn, v *volume, r *rand.Rand, base, size int) error {
	n := 1 << r.IntN(7)
	first := base + r.IntN(size-n+1)
	blocks := slotSize / v.block
	var k iscsitest.Command
	var ver version
	switch dice := r.IntN(100); {
	case dice < 3: // SYNCHRONIZE CACHE(16)
		k.CDB[0], n = 0x91, 0
	case dice < 10: // WRITE SAME(16) with UNMAP and NDOB: zeros, and the room given back
		k.CDB[0], k.CDB[1] = 0x93, 0x08|0x01
		binary.BigEndian.PutUint64(k.CDB[2:], uint64(first*blocks))
		binary.BigEndian.PutUint32(k.CDB[10:], uint32(n*blocks))
	default:
		ver = version(l.versions.Add(1))
		b := make([]byte, n*slotSize)
		for i := range n {
			v.model.fill(b[i*slotSize:(i+1)*slotSize], first+i, ver)
		}
		k = iscsitest.Write16(v.lun.Field(), uint64(first*blocks), b, v.block)
		if dice > 90 {
			k.CDB[1] |= 0x08 // FUA
		}
	}
	k.LUN, k.Attr = v.lun.Field(), 1 // SIMPLE
	v.model.sent(first, n, ver)
	res, err := c.Do(k)
	if err == nil {
		err = res.Good()
	}
	if err != nil {
		return err
	}
	v.model.done(first, n, ver)
	return nil
}

// wait waits until all writers have ended, and returns what went wrong before the kill.
func (l *load) wait() error {
	l.wg.Wait()
	return errors.Join(l.errs...)
}

// verify reads the whole volume and compares it with the model.
func verify(addr, target string, lun san.LUN, block int, m *model) error {
	c, err := connect(addr, target, 0xff, lun)
	if err != nil {
		return err
	}
	defer c.Close()
	const chunk = 64 // slots a read
	var errs []error
	for first := 0; first < len(m.slots); first += chunk {
		n := min(chunk, len(m.slots)-first)
		b, err := c.Read(lun.Field(), uint64(first*(slotSize/block)), uint32(n*slotSize/block), block)
		if err != nil {
			return err
		}
		if len(b) != n*slotSize {
			return fmt.Errorf("read %d bytes of %d", len(b), n*slotSize)
		}
		for i := range n {
			if err := m.check(first+i, b[i*slotSize:(i+1)*slotSize]); err != nil {
				errs = append(errs, err)
			}
		}
		if len(errs) > 10 {
			errs = append(errs, errors.New("and maybe more"))
			break
		}
	}
	return errors.Join(append(errs, c.Logout())...)
}
