package target

import (
	"math/rand/v2"
	"sync"
	"testing"

	"sango/internal/iscsi"
)

// Sessions that write, answer R2Ts or not, abort, reset the unit under each
// other's commands, and go away in the middle of it: nothing is lost of
// memory, credits or tasks, and a new session finds the unit in order.
func TestAbortsUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := start(t)
	var all sync.WaitGroup
	for n := range byte(4) {
		i := dial(t, s)
		if st := i.login(isid(n), append(names(hostName, targetName), iscsi.Pair{Key: iscsi.KeyMaxOutstandingR2T, Value: "4"},
			iscsi.Pair{Key: iscsi.KeyMaxBurst, Value: "4096"}, iscsi.Pair{Key: iscsi.KeyInitialR2T, Value: "No"})...); st != iscsi.LoginSuccess {
			t.Fatal(st)
		}
		all.Go(func() {
			v := &vandal{initiator: i, rnd: rand.New(rand.NewPCG(seed, uint64(n)))}
			for range 300 {
				v.round()
			}
			if n%2 == 0 {
				v.settle()
			} else {
				i.nc.Close()
			}
		})
	}
	all.Wait()
	if err := s.Drop(longTime(t), everySession, "test"); err != nil {
		t.Fatal(err)
	}
	if m := s.Totals().Memory; m != 0 {
		t.Errorf("%d bytes are still charged", m)
	}
	i := connect(t, s)
	i.ready()
	i.write(0, pattern(8192), true, true, 65536, 4096)
	i.check(0, pattern(8192))
}

// vandal is one session of the test.
type vandal struct {
	*initiator
	rnd  *rand.Rand
	sent []sentTask
}

type sentTask struct {
	itt iscsi.ITT
	sn  iscsi.CmdSN
}

// round sends some commands and one task management function, and then reads
// what came.
func (v *vandal) round() {
	for range v.rnd.IntN(6) {
		if !v.cmdSN.Within(v.exp, v.max) {
			break
		}
		sn := v.cmdSN
		var itt iscsi.ITT
		switch v.rnd.IntN(3) {
		case 0:
			itt = v.command(command{cdb: read10(0, 64), read: true, expected: 32768})
		case 1:
			itt = v.command(command{cdb: write10(v.rnd.IntN(64), 64), write: true, expected: 32768, data: make([]byte, 4096)})
		default:
			itt = v.command(command{cdb: write10(v.rnd.IntN(64), 16), write: true, expected: 8192, more: true})
			v.data(itt, iscsi.NoTTT, 0, 0, v.rnd.IntN(4) > 0, make([]byte, 4096))
		}
		v.sent = append(v.sent, sentTask{itt, sn})
	}
	switch {
	case v.rnd.IntN(8) == 0:
		v.manage(iscsi.TaskRequest{Immediate: true, Function: iscsi.LogicalUnitReset})
	case v.rnd.IntN(8) == 0:
		v.manage(iscsi.TaskRequest{Immediate: true, Function: iscsi.AbortTaskSet})
	case len(v.sent) > 0:
		at := v.sent[v.rnd.IntN(len(v.sent))]
		v.manage(iscsi.TaskRequest{Immediate: v.rnd.IntN(2) == 0, Function: iscsi.AbortTask, RefTag: at.itt, RefCmdSN: at.sn})
	}
	v.read()
}

// read answers most of what comes up to the answer of a ping.
func (v *vandal) read() {
	p := iscsi.NopOut{Immediate: true, ITT: v.itt, TTT: iscsi.NoTTT, CmdSN: v.cmdSN, ExpStatSN: v.expStatSN}
	v.itt++
	var h iscsi.BHS
	p.Put(&h)
	v.send(&h, nil)
	for {
		h, _ := v.recv()
		switch h.Opcode() {
		case iscsi.OpNopIn:
			v.sent = v.sent[max(0, len(v.sent)-8):]
			return
		case iscsi.OpR2T:
			r, err := iscsi.ParseR2T(&h)
			if err != nil {
				v.t.Error(err)
				return
			}
			if v.rnd.IntN(5) > 0 {
				v.data(r.ITT, r.TTT, 0, int(r.Offset), true, make([]byte, r.Desired))
			}
		case iscsi.OpReject:
			v.t.Errorf("rejected: %x", h)
			return
		}
	}
}

// settle aborts everything and checks that all credits came back.
func (v *vandal) settle() {
	tmf := v.manage(iscsi.TaskRequest{Function: iscsi.LogicalUnitReset})
	for {
		h, _ := v.recv()
		if h.Opcode() == iscsi.OpTaskResponse && h.ITT() == tmf {
			break
		}
	}
	v.read()
	if v.exp != v.cmdSN || v.max != v.exp+127 {
		v.t.Errorf("after a reset the window is [%d, %d], want 128 from %d", v.exp, v.max, v.cmdSN)
	}
}
