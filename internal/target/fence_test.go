package target

import (
	"net"
	"sync"
	"testing"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
	"sango/internal/scsi"
)

// instanceKey is the key that gives a session its name.
func instanceKey(run uint64, login uint32) iscsi.Pair {
	i := san.Instance{Group: 7, Run: run, Login: login}
	return iscsi.Pair{Key: iscsi.KeyInstance, Value: iscsi.FormatBinary(i.Append(nil))}
}

// session logs a host in under a name; id tells the sessions of one host apart.
func session(t testing.TB, s *setup, id byte, name iscsi.Pair) *initiator {
	t.Helper()
	i := dial(t, s)
	if st := i.login(isid(id), append(names(hostName, targetName), name)...); st != iscsi.LoginSuccess {
		t.Fatal(st)
	}
	return i
}

// fence sends a FENCE command.
func (i *initiator) fence(sa scsi.ServiceAction, l scsi.FenceList) iscsi.ITT {
	i.t.Helper()
	b := l.Append(nil)
	f := scsi.Fence{Action: sa, Length: uint32(len(b))}
	cdb := f.CDB()
	return i.command(command{cdb: cdb[:], write: true, expected: uint32(len(b)), data: b})
}

// fenceInstances names instances of group 7.
func (i *initiator) fenceInstances(e ...scsi.FenceEntry) iscsi.ITT {
	i.t.Helper()
	return i.fence(scsi.SAFenceInstances, scsi.FenceList{Group: 7, Entries: e})
}

// good waits for a command that ends well, and for no other PDU.
func (i *initiator) good(itt iscsi.ITT) {
	i.t.Helper()
	if o := i.outcome(); o.itt != itt || o.status != 0 {
		i.t.Fatalf("ended with %+v (%x)", o, o.key())
	}
}

// A fence is answered when the writes of the session that it names have ended,
// those that were stuck included; nothing of it lands later.
func TestFenceWaitsForWrites(t *testing.T) {
	s := start(t)
	old := session(t, s, 1, instanceKey(1, 1))
	i := session(t, s, 2, instanceKey(1, 2))
	old.ready()
	i.ready()
	gathers := old.command(command{cdb: write10(8, 8), write: true, expected: 4096}) // waits for its data
	r := old.r2t()
	arrived := s.dev.Hold()
	old.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	itt := i.fenceInstances(scsi.FenceEntry{Run: 1, Login: 1})
	old.closed() // at once
	_ = old.nc.SetDeadline(time.Now().Add(time.Minute))
	h := dataOutHeader(gathers, r.TTT, 4096)
	_, _ = old.nc.Write(old.wire(&h, pattern(4096))) // into the void
	i.ping()                                         // no answer yet
	s.dev.Release()
	i.good(itt)
	now := pattern(4096)
	for n := range now {
		now[n] ^= 0xff
	}
	i.good(i.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: now}))
	i.check(0, now)
	i.check(8, make([]byte, 4096))
	for _, x := range s.Sessions() {
		if x.Instance.Login == 1 {
			t.Errorf("the session is still there: %+v", x)
		}
	}
	// It is gone: to fence it again is no error, and harms nobody.
	i.good(i.fenceInstances(scsi.FenceEntry{Run: 1, Login: 1}))
}

func dataOutHeader(itt iscsi.ITT, ttt iscsi.TTT, n int) (h iscsi.BHS) {
	p := iscsi.DataOut{Final: true, ITT: itt, TTT: ttt, DataLen: n}
	p.Put(&h)
	return h
}

// FENCE EARLIER RUNS ends the sessions of all earlier runs, on all portals,
// and no others: not those of the same run, of later ones, of another group, of
// another initiator name, or without a name.
func TestFenceHitsOnlyWhatItNames(t *testing.T) {
	s := start(t)
	second, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(second, 2) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	other := *s
	other.addr = second.Addr().String()

	hit := []*initiator{session(t, s, 1, instanceKey(1, 1)), session(t, &other, 1, instanceKey(2, 9))}
	group := san.Instance{Group: 8, Run: 1, Login: 1}
	spared := []*initiator{
		session(t, s, 3, instanceKey(3, 0)), session(t, s, 4, instanceKey(4, 0)),
		session(t, s, 5, iscsi.Pair{Key: iscsi.KeyInstance, Value: iscsi.FormatBinary(group.Append(nil))}),
		session(t, s, 6, iscsi.Pair{Key: iscsi.KeyMaxOutstandingR2T, Value: "1"}), // no name
	}
	stranger := dial(t, s)
	if st := stranger.login(isid(1), append(names(hostName+"2", targetName), instanceKey(1, 1))...); st != iscsi.LoginSuccess {
		t.Fatal(st)
	}
	i := session(t, &other, 7, instanceKey(3, 1))
	i.ready()
	i.good(i.fence(scsi.SAFenceEarlierRuns, scsi.FenceList{Group: 7, Run: 3}))
	for _, h := range hit {
		h.closed()
	}
	for _, x := range append(spared, stranger) {
		x.ping()
	}
	// Those that log in under new names are no business of a fence that comes late.
	late := session(t, s, 8, instanceKey(2, 10))
	i.good(i.fenceInstances(scsi.FenceEntry{Run: 1, Login: 1}, scsi.FenceEntry{Run: 2, Login: 9}))
	late.ping()
}

// A login under way under the name ends.
func TestFenceEndsLogin(t *testing.T) {
	s := start(t)
	l := dial(t, s)
	text := iscsi.Keys(append(names(hostName, targetName), instanceKey(1, 1))).Append(nil)
	r := iscsi.LoginRequest{Current: iscsi.Operational, Next: iscsi.Security, ISID: isid(9), ITT: 1, CmdSN: 1, DataLen: len(text)}
	var h iscsi.BHS
	r.Put(&h)
	l.send(&h, text)
	if rh, _ := l.recv(); rh.Opcode() != iscsi.OpLoginResponse {
		t.Fatalf("answered with a %v PDU", rh.Opcode())
	}
	i := session(t, s, 1, instanceKey(1, 2))
	i.ready()
	i.good(i.fenceInstances(scsi.FenceEntry{Run: 1, Login: 1}))
	l.closed()
}

// A login that waits for the end of the session it reinstates is ended too, and
// the fence waits for both.
func TestFenceEndsReinstatement(t *testing.T) {
	s := start(t)
	old := session(t, s, 1, instanceKey(1, 1))
	old.ready()
	i := session(t, s, 2, instanceKey(1, 3))
	i.ready()
	arrived := s.dev.Hold()
	old.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	again := dial(t, s)
	text := iscsi.Keys(append(names(hostName, targetName), instanceKey(1, 2))).Append(nil)
	r := iscsi.LoginRequest{Transit: true, Current: iscsi.Operational, Next: iscsi.FullFeature, ISID: isid(1), ITT: 1, CmdSN: 1, DataLen: len(text)}
	var h iscsi.BHS
	r.Put(&h)
	again.send(&h, text)
	old.closed() // the login waits for its write now
	itt := i.fenceInstances(scsi.FenceEntry{Run: 1, Login: 1}, scsi.FenceEntry{Run: 1, Login: 2})
	i.ping()
	s.dev.Release()
	i.good(itt)
	for _, x := range s.Sessions() {
		if x.Instance.Login != 3 {
			t.Errorf("there is a session of instance %v", x.Instance)
		}
	}
}

// Two sessions that fence each other end both: neither waits for the other's
// fence.
func TestFenceEachOther(t *testing.T) {
	s := start(t)
	for n := range uint32(20) {
		a, b := session(t, s, 1, instanceKey(1, 2*n)), session(t, s, 2, instanceKey(1, 2*n+1))
		a.ready()
		b.ready()
		arrived := s.dev.Hold()
		for _, x := range []*initiator{a, b} {
			x.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
		}
		<-arrived // the other overlaps, and waits
		a.fenceInstances(scsi.FenceEntry{Run: 1, Login: 2*n + 1})
		_, _ = b.nc.Write(fencePDU(b, 2*n)) // it may be gone already
		s.dev.Release()
		third := session(t, s, 3, instanceKey(2, n))
		third.ready()
		third.good(third.fence(scsi.SAFenceEarlierRuns, scsi.FenceList{Group: 7, Run: 2}))
		if got := len(s.Sessions()); got != 1 {
			t.Fatalf("%d sessions are left", got)
		}
		third.nc.Close()
	}
}

// fencePDU is a FENCE command as it is on the wire.
func fencePDU(i *initiator, login uint32) []byte {
	l := scsi.FenceList{Group: 7, Entries: []scsi.FenceEntry{{Run: 1, Login: login}}}
	b := l.Append(nil)
	f := scsi.Fence{Length: uint32(len(b))}
	cdb := f.CDB()
	h := i.commandHeader(command{cdb: cdb[:], write: true, expected: uint32(len(b)), data: b})
	return i.wire(&h, b)
}

// Fences wait without workers, up to a limit; past that they are BUSY, and the
// end of their own session ends them.
func TestManyFences(t *testing.T) {
	s := start(t)
	old, i := session(t, s, 1, instanceKey(1, 1)), session(t, s, 2, instanceKey(1, 2))
	old.ready()
	i.ready()
	arrived := s.dev.Hold()
	old.command(command{cdb: write10(0, 8), write: true, expected: 4096, data: pattern(4096)})
	<-arrived
	for range hostFences {
		i.fenceInstances(scsi.FenceEntry{Run: 1, Login: 1})
	}
	busy := i.fenceInstances(scsi.FenceEntry{Run: 1, Login: 1})
	if o := i.outcome(); o.itt != busy || scsi.Status(o.status) != scsi.Busy {
		t.Errorf("one fence too many ended with %+v", o)
	}
	i.nc.Close()
	again := session(t, s, 2, instanceKey(1, 3)) // waits for the end of the session that fenced
	again.ready()
	itt := again.fenceInstances(scsi.FenceEntry{Run: 1, Login: 1}, scsi.FenceEntry{Run: 1, Login: 2})
	s.dev.Release()
	again.good(itt)
}

func TestFenceRefusals(t *testing.T) {
	s := start(t)
	i := session(t, s, 1, instanceKey(5, 1))
	i.ready()
	refused := func(i *initiator, want [3]byte) {
		t.Helper()
		if o := i.outcome(); o.key() != want {
			t.Errorf("ended with %+v (%x), want %x", o, o.key(), want)
		}
	}
	i.fenceInstances(scsi.FenceEntry{Run: 4, Login: 9}, scsi.FenceEntry{Run: 5, Login: 1}) // itself
	refused(i, [3]byte{5, 0x26, 0})
	i.fence(scsi.SAFenceEarlierRuns, scsi.FenceList{Group: 7, Run: 6})
	refused(i, [3]byte{5, 0x26, 0})
	i.fenceInstances()
	refused(i, [3]byte{5, 0x26, 0})
	i.fence(2, scsi.FenceList{Group: 7})
	refused(i, [3]byte{5, 0x24, 0})
	i.ping()
	none := dial(t, s)
	if st := none.login(isid(2), names(hostName, targetName)...); st != iscsi.LoginSuccess {
		t.Fatal(st)
	}
	none.ready()
	none.fenceInstances(scsi.FenceEntry{Run: 5, Login: 1})
	refused(none, [3]byte{5, 0x2c, 0})
	i.ping()
}

func TestSangoPageOfSession(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) {
		c.NopInterval, c.NopTimeout, c.MaxAge = 40*time.Second, 20*time.Second, 9*time.Second
	})
	i := session(t, s, 1, instanceKey(5, 1))
	if v, ok := i.answers.Get(iscsi.KeyInstance); ok {
		t.Errorf("the key was answered with %q", v)
	}
	i.ready()
	i.command(command{cdb: []byte{0x12, 1, 0xc0, 0, 64, 0}, read: true, expected: 64})
	got, err := scsi.ParseSangoPage(i.outcome().data)
	want := scsi.SangoPage{
		Fence: true, MaxInstances: 256, PingTime: time.Minute, MaxAge: 9 * time.Second,
		Instance: san.Instance{Group: 7, Run: 5, Login: 1},
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// Hosts that write, lose and fence sessions side by side: after each fence the
// survivor's data stays.
func TestFenceStress(t *testing.T) {
	s := start(t)
	var wg sync.WaitGroup
	for host := range 4 {
		wg.Go(func() {
			at := 64 * (host + 1)
			for run := uint64(1); run < 12; run++ {
				id := byte(1 + host*8 + int(run)%4)
				group := san.Instance{Group: uint64(100 + host), Run: run, Login: 1}
				old := session(t, s, id, iscsi.Pair{Key: iscsi.KeyInstance, Value: iscsi.FormatBinary(group.Append(nil))})
				old.ready()
				for n := range 8 {
					old.command(command{cdb: write10(at+n%2, 8), write: true, expected: 4096, data: pattern(4096)})
				}
				group.Run++
				i := session(t, s, id+4, iscsi.Pair{Key: iscsi.KeyInstance, Value: iscsi.FormatBinary(group.Append(nil))})
				i.ready()
				i.good(i.fence(scsi.SAFenceEarlierRuns, scsi.FenceList{Group: group.Group, Run: group.Run}))
				mine := make([]byte, 4096)
				mine[0] = byte(run)
				i.good(i.command(command{cdb: write10(at, 8), write: true, expected: 4096, data: mine}))
				i.check(at, mine)
				i.nc.Close()
				old.nc.Close()
			}
		})
	}
	wg.Wait()
}
