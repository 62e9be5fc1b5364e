package initiator

import (
	"io"
	"testing"

	"sango/internal/iscsi"
)

// FuzzSession feeds a session that has a read, a write and a task management
// request out with what a target may send. Nothing may panic, hang or be left
// unanswered.
func FuzzSession(f *testing.F) {
	response := iscsi.SCSIResponse{ITT: 1 << 16, StatSN: 2, ExpCmdSN: 2, MaxCmdSN: 9}
	data := iscsi.DataIn{ITT: 1 << 16, TTT: iscsi.NoTTT, StatSN: 2, HasStatus: true, Final: true, DataLen: 4}
	ready := iscsi.R2T{ITT: 1<<16 | 1, Desired: 4096, Offset: 0}
	async := iscsi.Async{Event: iscsi.AsyncLogout, StatSN: 2, Param3: 1}
	reject := iscsi.Reject{Reason: iscsi.RejectProtocol, StatSN: 2, DataLen: iscsi.BHSLen}
	managed := iscsi.TaskResponse{ITT: 1<<16 | 2, StatSN: 2}
	nop := iscsi.NopIn{ITT: iscsi.NoITT, TTT: 4}
	for _, p := range []interface{ Put(*iscsi.BHS) }{&response, &data, &ready, &async, &reject, &managed, &nop} {
		var h iscsi.BHS
		p.Put(&h)
		f.Add(append(h[:], 0, 0, 0, 0))
		f.Add(append(h[:], make([]byte, 100)...))
	}
	// A Reject with what it is for; a status after the request for a logout.
	waits := iscsi.Reject{Reason: iscsi.RejectWaitingForLogout, StatSN: 2, DataLen: iscsi.BHSLen}
	sent := iscsi.SCSICommand{ITT: 1 << 16, Read: true}
	late := response
	late.StatSN++
	for _, pair := range [][2]interface{ Put(*iscsi.BHS) }{{&waits, &sent}, {&async, &late}} {
		var a, b iscsi.BHS
		pair[0].Put(&a)
		pair[1].Put(&b)
		f.Add(append(a[:], b[:]...))
	}
	limits := iscsi.DefaultLimits()
	limits.MaxRecv = 512
	f.Fuzz(func(t *testing.T, b []byte) {
		s, p := paired(t, limits)
		_, read := submit(s, false, 8192)
		_, write := submit(s, true, 300_000)
		go func() { _, _ = s.Manage(t.Context(), iscsi.LogicalUnitReset, [8]byte{}) }()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, p.conn)
		}()
		_, _ = p.conn.Write(b)
		p.conn.Close()
		_, _ = <-read, <-write
		<-s.Done()
		<-drained
	})
}
