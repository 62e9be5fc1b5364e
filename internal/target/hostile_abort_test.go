package target

import (
	"bytes"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
)

// Commands are aborted in every state that they can be in, at random; at the
// end of each round the unit is reset. After the answer to that nothing of
// them is written any more, not even when their data comes late.
func TestHostileAborts(t *testing.T) {
	s := besiege(t)
	c := s.login("ImmediateData", "No", "InitialR2T", "Yes", "MaxBurstLength", "4096")
	zeros := make([]byte, 8<<10)
	manage := func(f iscsi.TaskFunction, ref iscsi.ITT) iscsi.ITT {
		r := iscsi.TaskRequest{Immediate: true, Function: f, LUN: lun1, ITT: c.ITT(), RefTag: ref, CmdSN: c.CmdSN, ExpStatSN: c.ExpStatSN, RefCmdSN: c.CmdSN - 1}
		h := header(&r)
		if err := c.Send(&h, nil); err != nil {
			t.Fatal(err)
		}
		return r.ITT
	}
	for round := range 150 {
		var tags []iscsi.ITT
		for range 1 + s.rnd.IntN(8) {
			k := iscsitest.Write16(lun1, 128, bytes.Repeat([]byte{0xee}, 8<<10), 512)
			if s.rnd.IntN(3) == 0 {
				k = iscsitest.Command{LUN: lun1, In: 4096, CDB: [16]byte{0x28, 8: 8}}
			}
			itt, err := c.SendCommand(k)
			if err != nil {
				t.Fatal(err)
			}
			tags = append(tags, itt)
		}
		for range s.rnd.IntN(6) {
			switch s.rnd.IntN(8) {
			case 0:
				manage(iscsi.AbortTaskSet, iscsi.NoITT)
			case 1:
				manage(iscsi.ClearTaskSet, iscsi.NoITT)
			case 2:
				manage(iscsi.AbortTask, 0x7fff_0000) // there is no such task
			default:
				manage(iscsi.AbortTask, tags[s.rnd.IntN(len(tags))])
			}
		}
		last := manage(iscsi.LogicalUnitReset, iscsi.NoITT)
		var asked []iscsi.R2T
		for over := false; !over; {
			p, err := c.Receive()
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			switch p.Opcode() {
			case iscsi.OpR2T:
				r, err := iscsi.ParseR2T(&p.BHS)
				if err != nil {
					t.Fatal(err)
				}
				asked = append(asked, r)
			case iscsi.OpTaskResponse:
				r, err := iscsi.ParseTaskResponse(&p.BHS)
				if err != nil {
					t.Fatal(err)
				}
				if over = r.ITT == last; over && r.Result != iscsi.TaskComplete {
					t.Fatalf("round %d: LOGICAL UNIT RESET ended with %d", round, r.Result)
				}
			case iscsi.OpNopIn:
				if err := c.Pong(&p); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, r := range asked { // the data that was asked for, too late
			h := header(&iscsi.DataOut{Final: true, LUN: lun1, ITT: r.ITT, TTT: r.TTT, ExpStatSN: c.ExpStatSN, Offset: r.Offset, DataLen: int(r.Desired)})
			if err := c.Send(&h, bytes.Repeat([]byte{0xee}, int(r.Desired))); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := c.Ready(lun1); err != nil || r.Good() != nil {
			t.Fatalf("round %d: %v, %v", round, r.Good(), err)
		}
		got, err := c.Read(lun1, 128, 16, 512)
		if err != nil || !bytes.Equal(got, zeros) {
			t.Fatalf("round %d: an aborted write reached the medium: %v", round, err)
		}
		if len(c.Events) > 0 {
			t.Fatalf("round %d: a %v came out of nothing", round, c.Events[0].Opcode())
		}
	}
	usable(t, c)
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}
