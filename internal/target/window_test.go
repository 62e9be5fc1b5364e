package target

import (
	"math"
	"testing"

	"sango/internal/iscsi"
)

func TestWindowJudge(t *testing.T) {
	for _, first := range []iscsi.CmdSN{1, 0, math.MaxUint32 - 1} { // the last one wraps around
		w := newWindow(first, 4)
		w.hold(first+2, &ordered{run: func() error { return nil }})
		for _, c := range []struct {
			off  int32
			want verdict
		}{{-1, ignore}, {0, now}, {1, later}, {2, ignore}, {3, later}, {4, ignore}, {math.MinInt32, ignore}} {
			if got := w.judge(first + iscsi.CmdSN(c.off)); got != c.want {
				t.Errorf("window from %d: CmdSN at %+d is judged %d, want %d", first, c.off, got, c.want)
			}
		}
	}
}

// A plugged number is skipped, and its credit comes back.
func TestWindowPlug(t *testing.T) {
	w := newWindow(10, 4)
	ran := false
	w.hold(11, &ordered{run: func() error { ran = true; return nil }})
	if w.plug(9) || w.plug(14) {
		t.Error("a number outside the window was plugged")
	}
	if !w.plug(10) {
		t.Error("the next number could not be plugged")
	}
	o := w.next()
	if o == nil || o.run() != nil || !ran {
		t.Error("the command behind the plugged number does not run")
	}
	if w.exp != 12 || w.max != 14 {
		t.Errorf("window is [%d, %d], want [12, 14]", w.exp, w.max)
	}
	if w.next() != nil {
		t.Error("there is another command")
	}
}

// A CmdSN outside the window, or one that was used, is ignored in silence.
func TestCmdSNOutsideWindowIsIgnored(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.Window = 8 })
	i := connect(t, s)
	i.ready()
	for _, sn := range []iscsi.CmdSN{i.max + 1, i.exp - 1, i.exp - 100, i.exp + 1<<31} {
		i.command(command{cdb: inquiry(36), read: true, expected: 36, at: &sn})
	}
	i.ping() // nothing came for those
	i.command(command{cdb: inquiry(36), read: true, expected: 36})
	if o := i.outcome(); o.status != 0 || len(o.data) != 36 {
		t.Errorf("the next command ended with %+v", o)
	}
}

// The window closes as commands are outstanding and opens with responses.
func TestWindowFollowsOutstandingCommands(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.Window = 4 })
	i := connect(t, s)
	i.ready()
	arrived := s.dev.Hold()
	for n := range 4 {
		i.command(command{cdb: read10(8*n, 8), read: true, expected: 4096})
	}
	for range 4 {
		<-arrived
	}
	i.ping()
	if i.max != i.exp-1 {
		t.Errorf("with 4 of 4 outstanding the window is [%d, %d], want it closed", i.exp, i.max)
	}
	i.command(command{cdb: read10(0, 1), read: true, expected: 512}) // past MaxCmdSN: ignored
	i.cmdSN--
	i.ping()
	s.dev.Release()
	for range 4 {
		if o := i.outcome(); o.status != 0 {
			t.Errorf("a read ended with %+v", o)
		}
	}
	if i.max != i.exp+3 {
		t.Errorf("with nothing outstanding the window is [%d, %d], want 4", i.exp, i.max)
	}
}

// Commands behind a gap wait, and run in order once it is filled.
func TestGapIsBuffered(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	gap := i.cmdSN
	i.cmdSN++
	var want []iscsi.ITT
	for range 3 {
		want = append(want, i.command(command{cdb: inquiry(36), read: true, expected: 36}))
	}
	second := gap + 1
	i.command(command{cdb: inquiry(36), read: true, expected: 36, at: &second, itt: 0x7000}) // a duplicate
	i.ping()
	if i.exp != gap {
		t.Errorf("ExpCmdSN is %d, want that of the gap, %d", i.exp, gap)
	}
	first := i.command(command{cdb: inquiry(36), read: true, expected: 36, at: &gap})
	for _, itt := range append([]iscsi.ITT{first}, want...) {
		if o := i.outcome(); o.itt != itt || o.status != 0 {
			t.Fatalf("task %#x ended with %+v, want %#x", o.itt, o, itt)
		}
	}
	i.ping()
	if i.exp != gap+4 {
		t.Errorf("ExpCmdSN is %d, want %d", i.exp, gap+4)
	}
}

// A write behind a gap keeps the unsolicited data that comes before its turn.
func TestGapKeepsUnsolicitedData(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyInitialR2T, Value: "No"})
	i.ready()
	want := pattern(3 * 4096)
	gap := i.cmdSN
	i.cmdSN++
	itt := i.command(command{cdb: write10(8, 24), write: true, expected: 3 * 4096, data: want[:4096], more: true})
	i.data(itt, iscsi.NoTTT, 0, 4096, false, want[4096:8192])
	i.command(command{cdb: make([]byte, 6), at: &gap})
	if o := i.outcome(); o.status != 0 {
		t.Fatalf("the command in the gap ended with %+v", o)
	}
	i.data(itt, iscsi.NoTTT, 1, 8192, true, want[8192:])
	if o := i.outcome(); o.itt != itt || o.status != 0 {
		t.Fatalf("the write ended with %+v", o)
	}
	i.check(8, want)
}

// What commands other than SCSI commands keep while they wait behind a gap is
// bounded: past that they are rejected, and may come again later.
func TestDataBehindAGapIsBounded(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyMaxRecvSegment, Value: "512"})
	i.ready()
	gap := i.cmdSN
	i.cmdSN++
	data := make([]byte, 256<<10)
	ping := func() {
		n := iscsi.NopOut{ITT: i.itt, TTT: iscsi.NoTTT, CmdSN: i.cmdSN, DataLen: len(data)}
		i.itt++
		i.cmdSN++
		var h iscsi.BHS
		n.Put(&h)
		i.send(&h, data)
	}
	for range maxBacklogBytes / len(data) {
		ping()
	}
	ping()
	if got := i.rejected(); got != iscsi.RejectLongOperation {
		t.Errorf("rejected for %v", got)
	}
	i.cmdSN-- // its number was not taken
	i.command(command{cdb: make([]byte, 6), at: &gap})
	if o := i.outcome(); o.status != 0 {
		t.Fatalf("the command in the gap ended with %+v", o)
	}
	for range maxBacklogBytes / len(data) {
		if h, _ := i.recv(); h.Opcode() != iscsi.OpNopIn {
			t.Fatalf("a %v PDU came", h.Opcode())
		}
	}
	ping()
	if h, _ := i.recv(); h.Opcode() != iscsi.OpNopIn {
		t.Fatalf("a %v PDU came", h.Opcode())
	}
}
