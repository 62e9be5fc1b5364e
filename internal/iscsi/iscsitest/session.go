package iscsitest

import (
	"bytes"
	"fmt"

	"sango/internal/iscsi"
)

// Ready runs TEST UNIT READY until no unit attention is left, and returns the
// last result.
func (c *Conn) Ready(lun [8]byte) (Result, error) {
	for {
		r, err := c.Do(Command{LUN: lun})
		if err != nil || r.Status != 2 || len(r.Sense) < 3 {
			return r, err
		}
		key := r.Sense[2] // fixed format
		if r.Sense[0]&0x7f >= 0x72 {
			key = r.Sense[1]
		}
		if key&0x0f != 6 {
			return r, nil
		}
	}
}

// Ping sends data in a NOP-Out and checks that it comes back.
func (c *Conn) Ping(data []byte) error {
	itt := c.ITT()
	var h iscsi.BHS
	(&iscsi.NopOut{ITT: itt, TTT: iscsi.NoTTT, CmdSN: c.NextCmdSN(), ExpStatSN: c.ExpStatSN, DataLen: len(data)}).Put(&h)
	if err := c.Send(&h, data); err != nil {
		return err
	}
	p, err := c.next(itt)
	if err != nil {
		return err
	}
	n, err := iscsi.ParseNopIn(&p.BHS)
	if err != nil {
		return err
	}
	if n.TTT != iscsi.NoTTT || !bytes.HasPrefix(data, p.Data) || len(p.Data) != min(len(data), c.Params.MaxRecv) {
		return fmt.Errorf("%d bytes of ping came back as %d, transfer tag %#x: %w", len(data), len(p.Data), uint32(n.TTT), ErrSequence)
	}
	return nil
}

// Manage runs a task management function; ref is the task of ABORT TASK.
func (c *Conn) Manage(f iscsi.TaskFunction, lun [8]byte, ref iscsi.ITT) (iscsi.TaskResult, error) {
	itt := c.ITT()
	r := iscsi.TaskRequest{Immediate: true, Function: f, LUN: lun, ITT: itt, RefTag: ref, CmdSN: c.CmdSN, ExpStatSN: c.ExpStatSN, RefCmdSN: c.CmdSN}
	if f != iscsi.AbortTask {
		r.RefTag = iscsi.NoITT
	}
	var h iscsi.BHS
	r.Put(&h)
	if err := c.Send(&h, nil); err != nil {
		return 0, err
	}
	p, err := c.next(itt)
	if err != nil {
		return 0, err
	}
	resp, err := iscsi.ParseTaskResponse(&p.BHS)
	return resp.Result, err
}

// Text runs a text exchange of one request and returns the whole answer.
func (c *Conn) Text(keys iscsi.Keys) (iscsi.Keys, error) {
	r := iscsi.TextRequest{Final: true, ITT: c.ITT(), TTT: iscsi.NoTTT}
	data := keys.Append(nil)
	var all []byte
	for {
		r.CmdSN, r.ExpStatSN, r.DataLen = c.NextCmdSN(), c.ExpStatSN, len(data)
		var h iscsi.BHS
		r.Put(&h)
		if err := c.Send(&h, data); err != nil {
			return nil, err
		}
		p, err := c.next(r.ITT)
		if err != nil {
			return nil, err
		}
		resp, err := iscsi.ParseTextResponse(&p.BHS)
		if err != nil {
			return nil, err
		}
		all = append(all, p.Data...)
		if resp.Final {
			return iscsi.ParseText(all)
		}
		r.TTT, data = resp.TTT, nil
	}
}

// Logout closes the session and then the connection.
func (c *Conn) Logout() error {
	itt := c.ITT()
	var h iscsi.BHS
	(&iscsi.LogoutRequest{Reason: iscsi.LogoutSession, ITT: itt, CID: c.CID, CmdSN: c.NextCmdSN(), ExpStatSN: c.ExpStatSN}).Put(&h)
	if err := c.Send(&h, nil); err != nil {
		return err
	}
	p, err := c.next(itt)
	if err != nil {
		return err
	}
	resp, err := iscsi.ParseLogoutResponse(&p.BHS)
	if err != nil {
		return err
	}
	if resp.Result != iscsi.LogoutDone {
		return fmt.Errorf("iscsitest: logout ended with result %d", resp.Result)
	}
	return c.Close()
}
