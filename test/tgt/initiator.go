package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/initiator"
	"sango/internal/iscsi"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/test/harness"
)

const blockSize = 512

// client is the initiator against one tgtd.
type client struct {
	ctx context.Context
	d   *tgtd
}

// initiatorSteps runs everything about single sessions.
func initiatorSteps(ctx context.Context, rep *harness.Report, d *tgtd) {
	c := &client{ctx, d}
	rep.Step("discovery finds the targets at both portals", c.discover)
	rep.Step("data comes back as written, whatever is negotiated", c.data)
	rep.Step("unmapped blocks read as zeros", c.unmap)
	rep.Step("errors come with sense data", c.sense)
	rep.Step("CHAP in one direction", c.chap)
	rep.Step("CHAP in both directions", c.mutual)
	rep.Step("commands are aborted and the session goes on", c.abort)
	rep.Step("LUN and target resets", c.reset)
	rep.Step("the session comes back after kill -9 of tgtd, with the data", c.restart)
	rep.Step("tshark understands every PDU", func() error { return c.traced(filepath.Join(d.dir, "session.pcap")) })
}

func (c *client) config(target string) initiator.Config {
	return initiator.Config{
		Initiator: san.InitiatorPort{Name: "iqn.2026-11.test.tgt:host", ISID: initiator.NewISID()}, Target: target, Portal: c.d.portals[0],
		LoginTimeout: time.Minute, PingInterval: time.Second, PingTimeout: 30 * time.Second, ManageTimeout: time.Minute,
	}
}

func (c *client) discover() error {
	for _, portal := range c.d.portals {
		cfg := c.config("")
		cfg.Portal = portal
		records, err := initiator.Discover(c.ctx, cfg)
		if err != nil {
			return err
		}
		// tgtd shows a target to who may not log in to it as well, and of its portals only the one that was asked.
		if len(records) != 3 {
			return fmt.Errorf("%s tells of %+v", portal, records)
		}
		for _, r := range records {
			if len(r.Addresses) != 1 || r.Addresses[0].Addr != portal {
				return fmt.Errorf("%s tells of %+v", portal, r)
			}
		}
	}
	return nil
}

// with logs in, runs f and logs out.
func (c *client) with(cfg initiator.Config, f func(*initiator.Session) error) error {
	s, err := initiator.Login(c.ctx, cfg)
	if err != nil {
		return err
	}
	defer s.Abort(initiator.ErrClosed)
	if err := ready(c.ctx, s); err != nil {
		return err
	}
	if err := f(s); err != nil {
		return err
	}
	if err := s.Logout(c.ctx); err != nil {
		return fmt.Errorf("logout: %w", err)
	}
	return nil
}

// disk is the LUN field of the disks.
var disk = san.LUN(1).Field()

// ready takes the unit attentions of a new session.
func ready(ctx context.Context, s *initiator.Session) error {
	c := initiator.Command{LUN: disk, Attr: scsi.Simple}
	for range 8 {
		if err := s.Do(ctx, &c); err != nil {
			return err
		}
		if c.Status == scsi.Good {
			return nil
		}
	}
	return fmt.Errorf("the disk does not become ready: %v, sense %x", c.Status, c.Sense)
}

func rw(op byte, lba, n int) scsi.CDB {
	n /= blockSize
	return scsi.CDB{0: op, 2: byte(lba >> 24), 3: byte(lba >> 16), 4: byte(lba >> 8), 5: byte(lba), 7: byte(n >> 8), 8: byte(n)}
}

// do runs c, which must be GOOD.
func do(ctx context.Context, s *initiator.Session, c *initiator.Command) error {
	c.LUN, c.Attr = disk, scsi.Simple
	if err := s.Do(ctx, c); err != nil {
		return err
	}
	if c.Status != scsi.Good {
		return fmt.Errorf("%v, sense %x, for %x", c.Status, c.Sense, c.CDB)
	}
	return nil
}

func write(ctx context.Context, s *initiator.Session, lba int, data ...[]byte) error {
	n := 0
	for _, p := range data {
		n += len(p)
	}
	return do(ctx, s, &initiator.Command{CDB: rw(0x2a, lba, n), Out: data})
}

// verify reads and compares.
func verify(ctx context.Context, s *initiator.Session, lba int, want []byte) error {
	b := make([]byte, len(want))
	c := &initiator.Command{CDB: rw(0x28, lba, len(b)), In: [][]byte{b[:len(b)/3], b[len(b)/3:]}}
	if err := do(ctx, s, c); err != nil {
		return err
	}
	if c.Got != len(b) || !bytes.Equal(b, want) {
		return fmt.Errorf("block %d: %d bytes, other data came back", lba, c.Got)
	}
	return nil
}

func random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func (c *client) data() error {
	digests := [][]string{{iscsi.ValueNone}, {iscsi.DigestCRC32C, iscsi.ValueNone}}
	for i := range 16 {
		o := iscsi.DefaultOffers()
		o.HeaderDigest, o.DataDigest = digests[i&1], digests[i>>1&1]
		o.ImmediateData, o.InitialR2T = i>>2&1 == 1, i>>3&1 == 1
		o.MaxRecv = 4096 + 4*rand.IntN(50_000)
		o.MaxBurstLength = uint32(4096 + 4*rand.IntN(75_000))
		o.FirstBurstLength = min(uint32(512+4*rand.IntN(25_000)), o.MaxBurstLength)
		cfg := c.config(openTarget)
		cfg.Offers = &o
		err := c.with(cfg, func(s *initiator.Session) error {
			p := s.Params()
			if i&1 == 1 && !p.HeaderDigest || i>>1&1 == 1 && !p.DataDigest {
				return errors.New("tgtd did not agree to digests")
			}
			return c.load(s)
		})
		if err != nil {
			return fmt.Errorf("with %+v: %w", o, err)
		}
	}
	return nil
}

// load writes and verifies at random places with several commands at a time.
func (c *client) load(s *initiator.Session) error {
	const workers = 16
	errs := make([]error, workers)
	var all sync.WaitGroup
	for k := range workers {
		all.Go(func() {
			for range 4 {
				lba := k*4096 + rand.IntN(2048)
				data := random(blockSize * (1 + rand.IntN(1000)))
				at := rand.IntN(len(data))
				if errs[k] = write(c.ctx, s, lba, data[:at], data[at:]); errs[k] != nil {
					return
				}
				if errs[k] = verify(c.ctx, s, lba, data); errs[k] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(append(errs, s.Ping(c.ctx))...)
}

func (c *client) unmap() error {
	return c.with(c.config(openTarget), func(s *initiator.Session) error {
		data := random(64 << 10)
		if err := write(c.ctx, s, 0, data); err != nil {
			return err
		}
		list := scsi.AppendUnmapList(nil, []scsi.Range{{LBA: 32, Blocks: 64}})
		u := &initiator.Command{CDB: scsi.CDB{0: 0x42, 7: byte(len(list) >> 8), 8: byte(len(list))}, Out: [][]byte{list}}
		if err := do(c.ctx, s, u); err != nil {
			return err
		}
		clear(data[32*blockSize : 96*blockSize])
		return verify(c.ctx, s, 0, data)
	})
}

func (c *client) sense() error {
	return c.with(c.config(openTarget), func(s *initiator.Session) error {
		r := &initiator.Command{LUN: disk, Attr: scsi.Simple, CDB: rw(0x28, diskSize/blockSize, 4096), In: [][]byte{make([]byte, 4096)}}
		if err := s.Do(c.ctx, r); err != nil {
			return err
		}
		sense, err := scsi.ParseSense(r.Sense)
		if err != nil {
			return err
		}
		if r.Status != scsi.CheckConditionStatus || sense.Key != scsi.IllegalRequest {
			return fmt.Errorf("%v, sense %x", r.Status, r.Sense)
		}
		// More room than there is data.
		b := make([]byte, 255)
		q := &initiator.Command{LUN: disk, Attr: scsi.Simple, CDB: scsi.CDB{0: 0x12, 4: 255}, In: [][]byte{b}}
		if err := s.Do(c.ctx, q); err != nil {
			return err
		}
		if q.Status != scsi.Good || q.Got < 36 || string(b[8:11]) != "IET" || q.Got+int(q.Residual.Count) != len(b) {
			return fmt.Errorf("INQUIRY: %v, %d bytes, residual %+v: %q", q.Status, q.Got, q.Residual, b[8:36])
		}
		return nil
	})
}

// algorithms is what tgtd can do: it takes 7, which is SHA-256, for SHA-1 and refuses the answer.
var algorithms = []iscsi.CHAPAlgorithm{iscsi.CHAPMD5}

// login logs in with account and expects data to pass, then with a wrong one and expects a refusal.
func (c *client) login(target string, account, wrong san.CHAP) error {
	cfg := c.config(target)
	cfg.CHAP, cfg.Algorithms = &account, algorithms
	if err := c.with(cfg, c.load); err != nil {
		return err
	}
	cfg.CHAP = &wrong
	if s, err := initiator.Login(c.ctx, cfg); err == nil {
		s.Abort(initiator.ErrClosed)
		return errors.New("a login with a wrong secret succeeded")
	}
	cfg.CHAP = nil
	s, err := initiator.Login(c.ctx, cfg)
	if err == nil {
		s.Abort(initiator.ErrClosed)
		return errors.New("a login without an account succeeded")
	}
	return nil
}

func (c *client) chap() error {
	return c.login(chapTarget, san.CHAP{User: user, Secret: secret}, san.CHAP{User: user, Secret: "other-secret-123"})
}

func (c *client) mutual() error {
	account := san.CHAP{User: user, Secret: secret, MutualUser: mutualUser, MutualSecret: mutualSecret}
	wrong := account
	wrong.MutualSecret = "other-secret-123"
	return c.login(mutualTarget, account, wrong)
}

// abort ends the context of commands at random moments: they are aborted or answered, and nothing else happens.
func (c *client) abort() error {
	return c.with(c.config(openTarget), func(s *initiator.Session) error {
		const workers, rounds = 16, 40
		var aborted, answered atomic.Int64
		errs := make([]error, workers)
		var all sync.WaitGroup
		for k := range workers {
			all.Go(func() {
				data := [][]byte{make([]byte, 1<<20)}
				r := &initiator.Command{LUN: disk, Attr: scsi.Simple, CDB: rw(0x28, 0, 1<<20), In: data}
				if k%2 == 0 {
					r = &initiator.Command{LUN: disk, Attr: scsi.Simple, CDB: rw(0x2a, k*4096, 1<<20), Out: data}
				}
				for range rounds {
					ctx, cancel := context.WithTimeout(c.ctx, time.Duration(rand.IntN(5000))*time.Microsecond)
					err := s.Do(ctx, r)
					cancel()
					switch {
					case err == nil && r.Status == scsi.Good:
						answered.Add(1)
					case errors.Is(err, initiator.ErrAborted):
						aborted.Add(1)
					case err == nil:
						errs[k] = fmt.Errorf("%v, sense %x", r.Status, r.Sense)
						return
					default:
						errs[k] = err
						return
					}
				}
			})
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		fmt.Printf("     %d commands aborted, %d answered first\n", aborted.Load(), answered.Load())
		return c.load(s)
	})
}

func (c *client) reset() error {
	return c.with(c.config(openTarget), func(s *initiator.Session) error {
		for _, f := range []iscsi.TaskFunction{iscsi.LogicalUnitReset, iscsi.AbortTaskSet, iscsi.ClearTaskSet, iscsi.TargetWarmReset} {
			result, err := s.Manage(c.ctx, f, disk)
			if err != nil {
				return fmt.Errorf("%v: %w", f, err)
			}
			if result != iscsi.TaskComplete && result != iscsi.TaskNotSupported {
				return fmt.Errorf("%v: result %d", f, result)
			}
			if f == iscsi.LogicalUnitReset && result != iscsi.TaskComplete {
				return fmt.Errorf("%v is not served", f)
			}
			if err := ready(c.ctx, s); err != nil {
				return err
			}
		}
		return c.load(s)
	})
}

// restart kills tgtd under load and starts it again.
func (c *client) restart() error {
	ups, downs := make(chan *initiator.Session, 1), make(chan error, 1)
	k := initiator.NewKeeper(c.config(openTarget), func(s *initiator.Session) { ups <- s }, func(_ *initiator.Session, err error) { downs <- err })
	k.Start()
	defer k.Stop()
	s, err := wait(c.ctx, ups)
	if err != nil {
		return err
	}
	if err := ready(c.ctx, s); err != nil {
		return err
	}
	data := random(256 << 10)
	if err := write(c.ctx, s, 100, data); err != nil {
		return err
	}
	lost := make(chan error, 1)
	go func() {
		for {
			if err := c.load(s); err != nil {
				lost <- err
				return
			}
		}
	}()
	c.d.kill()
	if err, waiting := wait(c.ctx, lost); waiting != nil {
		return waiting
	} else if l := new(initiator.LostError); !errors.As(err, &l) {
		return fmt.Errorf("the load ended with %w", err)
	}
	if _, err := wait(c.ctx, downs); err != nil {
		return err
	}
	if err := c.d.start(c.ctx); err != nil {
		return err
	}
	k.Retry()
	for {
		// It may log in before the disk is there.
		if s, err = wait(c.ctx, ups); err != nil {
			return err
		}
		if err = ready(c.ctx, s); err == nil {
			break
		}
		s.Drop(errors.New("no disk yet"))
		if _, err := wait(c.ctx, downs); err != nil {
			return err
		}
	}
	if err := c.load(s); err != nil {
		return err
	}
	return nil
}

// wait waits for a value.
func wait[T any](ctx context.Context, c <-chan T) (v T, err error) {
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	select {
	case v = <-c:
		return v, nil
	case <-limit.C:
		return v, errors.New("nothing happened for a minute")
	case <-ctx.Done():
		return v, ctx.Err()
	}
}
