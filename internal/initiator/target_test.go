package initiator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/target"
)

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// cut cuts b into pieces at random places, some of them empty.
func cut(r *rand.Rand, b []byte) (out [][]byte) {
	for len(b) > 0 {
		n := r.IntN(min(len(b), 100_000) + 1)
		out = append(out, b[:n])
		b = b[n:]
	}
	return out
}

func TestDiscoverTellsOfTheTarget(t *testing.T) {
	s := start(t)
	for _, name := range []string{"", targetName} {
		cfg := s.config()
		cfg.Target = name
		got, err := Discover(longTime(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].Name != targetName || len(got[0].Addresses) != 1 || got[0].Addresses[0].Addr != s.addr {
			t.Errorf("%q: %+v", name, got)
		}
	}
}

// Every combination of what is negotiated moves the same bytes.
func TestDataIsRightWhateverIsNegotiated(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	accounts := []san.CHAP{{User: "user", Secret: "user-secret-1234", MutualUser: "target", MutualSecret: "target-secret-12"}}
	digests := [][]string{{iscsi.ValueNone}, {iscsi.DigestCRC32C}}
	for i := range 32 {
		segment := 512 * (1 + r.IntN(64))
		name := fmt.Sprintf("header=%d,data=%d,immediate=%d,r2t=%d,chap=%d", i&1, i>>1&1, i>>2&1, i>>3&1, i>>4&1)
		o := iscsi.DefaultOffers()
		o.HeaderDigest, o.DataDigest = digests[i&1], digests[i>>1&1]
		o.ImmediateData, o.InitialR2T = i>>2&1 == 1, i>>3&1 == 1
		o.MaxRecv = 512 + r.IntN(100_000)
		o.MaxBurstLength = uint32(512 + r.IntN(300_000))
		o.FirstBurstLength = min(uint32(512+r.IntN(100_000)), o.MaxBurstLength)
		o.MaxOutstandingR2T = uint16(1 + r.IntN(8))
		rounds := random(r, 12)
		seeds := r.Uint64()
		t.Run(name, func(t *testing.T) {
			s := start(t, func(c *target.Config, d *directory) {
				if i>>4&1 == 1 {
					d.accounts = accounts
				}
				c.MaxRecvDataSegment = segment
			})
			x := s.login(func(c *Config) {
				c.Offers = &o
				if i>>4&1 == 1 {
					c.CHAP = &accounts[0]
				}
			})
			p := x.Params()
			if p.HeaderDigest != (i&1 == 1) || p.DataDigest != (i>>1&1 == 1) || p.ImmediateData != o.ImmediateData || p.InitialR2T != o.InitialR2T {
				t.Errorf("%+v", p)
			}
			var all sync.WaitGroup
			for k := range rounds {
				all.Go(func() {
					r := rand.New(rand.NewPCG(seeds, uint64(k)))
					n := 512 * (1 + r.IntN(1000))
					data := random(r, n)
					write(t, x, k*1000, cut(r, data)...)
					back := make([]byte, n)
					c := &Command{CDB: readCDB(k*1000, n/512), Attr: scsi.Simple, In: cut(r, back)}
					do(t, x, c)
					if c.Got != n || !bytes.Equal(back, data) {
						t.Errorf("%d bytes at %d: other data came back", n, k*1000)
					}
				})
			}
			all.Wait()
			if err := x.Logout(longTime(t)); err != nil {
				t.Error(err)
			}
			if err := x.Err(); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	}
}

func TestWrongSecretIsRefused(t *testing.T) {
	account := san.CHAP{User: "user", Secret: "user-secret-1234", MutualUser: "target", MutualSecret: "target-secret-12"}
	s := start(t, func(_ *target.Config, d *directory) { d.accounts = []san.CHAP{account} })
	cfg := s.config()
	wrong := account
	wrong.Secret = "other-secret-123"
	cfg.CHAP = &wrong
	_, err := Login(longTime(t), cfg)
	var refused *iscsi.LoginError
	if !errors.As(err, &refused) || refused.Status != iscsi.LoginAuthFailed {
		t.Errorf("%v", err)
	}
	wrong = account
	wrong.MutualSecret = "other-secret-123"
	if _, err = Login(longTime(t), cfg); err == nil {
		t.Error("a target that can't prove itself was taken")
	}
	cfg.CHAP = &account
	for _, a := range iscsi.AllCHAPAlgorithms() {
		cfg.Algorithms = []iscsi.CHAPAlgorithm{a}
		x, err := Login(longTime(t), cfg)
		if err != nil {
			t.Errorf("%v: %v", a, err)
			continue
		}
		x.Abort(ErrClosed)
	}
}

func TestSenseAndResidual(t *testing.T) {
	s := start(t)
	x := s.login()
	c := &Command{CDB: readCDB(diskSize/512, 1), Attr: scsi.Simple, In: [][]byte{make([]byte, 512)}}
	if err := x.Do(longTime(t), c); err != nil {
		t.Fatal(err)
	}
	sense, err := scsi.ParseSense(c.Sense)
	if err != nil || c.Status != scsi.CheckConditionStatus || sense.Key != scsi.IllegalRequest || c.Got != 0 {
		t.Errorf("%v %+v %v", c.Status, sense, err)
	}
	c = &Command{CDB: readCDB(0, 1), Attr: scsi.Simple, In: [][]byte{make([]byte, 1024)}}
	do(t, x, c)
	if c.Got != 512 || c.Residual != (iscsi.Residual{Underflow: true, Count: 512}) {
		t.Errorf("%d %+v", c.Got, c.Residual)
	}
	c = &Command{CDB: readCDB(0, 2), Attr: scsi.Simple, In: [][]byte{make([]byte, 512)}}
	do(t, x, c)
	if c.Got != 512 || c.Residual != (iscsi.Residual{Overflow: true, Count: 512}) {
		t.Errorf("%d %+v", c.Got, c.Residual)
	}
	if err := x.Ping(longTime(t)); err != nil || x.Stats().Ping == 0 {
		t.Error(err)
	}
}

// A command whose context ends is aborted, and one that was not sent yet as
// well.
func TestContextAborts(t *testing.T) {
	s := start(t)
	x := s.login(func(c *Config) { c.QueueDepth = 1 })
	arrived := s.dev.Hold()
	ctx, cancel := context.WithCancel(longTime(t))
	first := &Command{CDB: readCDB(0, 1), Attr: scsi.Simple, In: [][]byte{make([]byte, 512)}}
	second := &Command{CDB: readCDB(0, 1), Attr: scsi.Simple, In: [][]byte{make([]byte, 512)}}
	var all sync.WaitGroup
	all.Go(func() { _ = x.Do(ctx, first) })
	<-arrived
	waiting, stop := context.WithCancel(longTime(t))
	stop()
	if err := x.Do(waiting, second); !errors.Is(err, ErrAborted) || second.Sent {
		t.Errorf("%v, sent %v", err, second.Sent)
	}
	cancel()
	// The device holds the read: the target answers the abort when it ends.
	s.dev.Release()
	all.Wait()
	if first.Err != nil && !errors.Is(first.Err, ErrAborted) || !first.Sent {
		t.Errorf("%v", first.Err)
	}
	do(t, x, second)
}

func TestResetEndsTheCommandsOfItsUnit(t *testing.T) {
	s := start(t)
	managed := make(chan struct{}, 4)
	x := s.login(func(c *Config) {
		c.Trace = func(p Traced) {
			if h := iscsi.BHS(p.PDU); p.Sent && h.Opcode() == iscsi.OpTaskRequest {
				managed <- struct{}{}
			}
		}
	})
	arrived := s.dev.Hold()
	c := &Command{CDB: readCDB(0, 1), Attr: scsi.Simple, In: [][]byte{make([]byte, 512)}}
	ended := make(chan error, 1)
	c.Done = func(c *Command) { ended <- c.Err }
	x.Submit(c)
	<-arrived
	result := make(chan error, 1)
	go func() {
		r, err := x.Manage(longTime(t), iscsi.LogicalUnitReset, [8]byte{})
		if err == nil && r != iscsi.TaskComplete {
			err = fmt.Errorf("result %d", r)
		}
		result <- err
	}()
	<-managed
	if err := x.Ping(longTime(t)); err != nil { // it is there before this
		t.Error(err)
	}
	s.dev.Release()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, ErrAborted) {
		t.Errorf("%v", err)
	}
	ready(t, x)
	if r, err := x.Manage(longTime(t), iscsi.LogicalUnitReset, san.LUN(9).Field()); err != nil || r != iscsi.TaskNoSuchLUN {
		t.Errorf("%v %v", r, err)
	}
}

// What is with the target when the session ends was sent, what waits was not.
func TestLostCommandsSayWhetherTheyWereSent(t *testing.T) {
	s := start(t)
	lost := make(chan error, 1)
	x := s.login(func(c *Config) {
		c.QueueDepth = 2
		c.Lost = func(_ *Session, err error) { lost <- err }
	})
	arrived := s.dev.Hold()
	var cmds [5]Command
	var ended sync.WaitGroup
	ended.Add(len(cmds))
	for i := range cmds {
		cmds[i] = Command{CDB: readCDB(i, 1), Attr: scsi.Simple, In: [][]byte{make([]byte, 512)}, Done: func(*Command) { ended.Done() }}
		x.Submit(&cmds[i])
	}
	<-arrived
	<-arrived
	reason := errors.New("test")
	x.Abort(reason)
	if err := <-lost; !errors.Is(err, reason) {
		t.Error(err)
	}
	ended.Wait()
	for i := range cmds {
		var e *LostError
		if !errors.As(cmds[i].Err, &e) || !errors.Is(e, reason) || cmds[i].Sent != (i < 2) {
			t.Errorf("%d: %v, sent %v", i, cmds[i].Err, cmds[i].Sent)
		}
	}
	late := &Command{}
	if err := x.Do(longTime(t), late); err == nil || late.Sent {
		t.Errorf("%v", err)
	}
	if _, err := x.Manage(longTime(t), iscsi.LogicalUnitReset, [8]byte{}); err == nil {
		t.Error("a dead session manages")
	}
	if err := x.Ping(longTime(t)); err == nil {
		t.Error("a dead session pings")
	}
}

func TestUsageErrors(t *testing.T) {
	s := start(t)
	x := s.login()
	b := [][]byte{make([]byte, 512)}
	var u *UsageError
	if err := x.Do(longTime(t), &Command{In: b, Out: b}); !errors.As(err, &u) {
		t.Error(err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Portal = "" }, func(c *Config) { c.Portal = "fe80::1" }, func(c *Config) { c.Target = "" },
		func(c *Config) { c.Initiator.Name = "" }, func(c *Config) { c.QueueDepth = MaxQueueDepth + 1 },
		func(c *Config) { c.PingTimeout = -1 },
	} {
		cfg := s.config()
		change(&cfg)
		if _, err := Login(longTime(t), cfg); !errors.As(err, &u) {
			t.Errorf("%v", err)
		}
	}
}

// tgt pads a segment by overwriting what follows it: none but the last of a
// command may need padding.
func TestDeclaredLengthsNeedNoPadding(t *testing.T) {
	o := iscsi.DefaultOffers()
	o.MaxRecv, o.MaxBurstLength, o.FirstBurstLength = 194873, 250845, 59045
	x := start(t).login(func(c *Config) { c.Offers = &o })
	if p := x.Params(); p.MaxRecv != 194872 || p.MaxBurstLength != 250844 || p.FirstBurstLength != 59044 {
		t.Errorf("%+v", p)
	}
	if o.MaxRecv != 194873 {
		t.Error("the caller's offers were changed")
	}
}

// A long run of commands with small windows, deep queues and lost sessions
// leaves every command answered once.
func TestEveryCommandEndsOnce(t *testing.T) {
	s := start(t, func(c *target.Config, _ *directory) { c.Window = 7 })
	for round := range 20 {
		x := s.login(func(c *Config) { c.QueueDepth = 1 + round })
		const n = 200
		var ended sync.WaitGroup
		ended.Add(n)
		counts := make([]int32, n)
		for i := range n {
			c := &Command{Attr: scsi.Simple, Done: func(*Command) {
				counts[i]++
				ended.Done()
			}}
			if i%2 == 0 {
				c.CDB, c.Out = writeCDB(i*64, 64), [][]byte{make([]byte, 32<<10)}
			} else {
				c.CDB, c.In = readCDB(i*64, 64), [][]byte{make([]byte, 32<<10)}
			}
			x.Submit(c)
			if i == 10*round {
				go x.Drop(errors.New("test"))
			}
		}
		ended.Wait()
		<-x.Done()
		for i, k := range counts {
			if k != 1 {
				t.Errorf("round %d: command %d ended %d times", round, i, k)
			}
		}
	}
}
