package lun

import (
	"encoding/binary"

	"sango/internal/block"
	"sango/internal/bufpool"
	"sango/internal/scsi"
)

// cacheCommands returns SYNCHRONIZE CACHE (SBC-3 §5.26, §5.27), PRE-FETCH
// (SBC-3 §5.9, §5.10) and READ DEFECT DATA (SBC-3 §5.18, §5.19).
func cacheCommands() []command {
	list := []command{
		// Byte 1: IMMED and, obsolete but still sent, SYNC_NV. With IMMED the
		// status is sent when the work is done all the same: so it can still tell
		// of a failure.
		{op: scsi.OpSynchronizeCache10, usage: "\x35\x06\xff\xff\xff\xff\x3f\xff\xff\x00"},
		{op: scsi.OpSynchronizeCache16, usage: "\x91\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
		{op: scsi.OpPreFetch10, usage: "\x34\x02\xff\xff\xff\xff\x3f\xff\xff\x00"},
		{op: scsi.OpPreFetch16, usage: "\x90\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
		{op: scsi.OpReadDefectData10, usage: "\x37\x00\x1f\x00\x00\x00\x00\xff\xff\x00"},
		{op: scsi.OpReadDefectData12, usage: "\xb7\x1f\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"},
	}
	for i := range list {
		c := &list[i]
		c.name, c.nominal, c.recommended = c.op.String(), medium, long
		switch {
		case i < 2:
			c.flags, c.access = fast, accessWrite
			c.parse = func(t *Task) error { _, err := t.toEnd(lockNone); return err }
			c.run, c.done = synchronize, synchronized
		case i < 4:
			c.access = accessRead
			c.parse = func(t *Task) error { _, err := t.toEnd(lockShared); return err }
			c.run = preFetch
		default:
			c.flags, c.access = inPlace, accessRead
			c.run = readDefectData
		}
	}
	return list
}

// maxPreFetch is the most that PRE-FETCH brings into the cache, in bytes.
const maxPreFetch = maxTransferBytes

// preFetch reads the range, so that whatever is below may cache it. It ends
// with GOOD, not CONDITION MET: that would promise that the cache keeps all of
// it, which nobody here can.
func preFetch(t *Task) error {
	if t.end-t.off > maxPreFetch {
		return nil
	}
	b := bufpool.Get(chunk)
	defer b.Release()
	return t.stretches(t.off, t.end, chunk, func(off, n int64) error {
		return t.do(block.OpRead, 0, off, n, [][]byte{b.B[:n]})
	})
}

// readDefectData answers with empty lists: a volume has no defects to tell of.
func readDefectData(t *Task) error {
	q := scsi.ParseReadDefectData(&t.CDB)
	var valid byte
	if q.Primary {
		valid |= 0x10
	}
	if q.Grown {
		valid |= 0x08
	}
	d := []byte{0, valid | q.Format}
	if scsi.Op(&t.CDB) == scsi.OpReadDefectData10 {
		d = binary.BigEndian.AppendUint16(d, 0)
	} else {
		d = append(d, 0, 0, 0, 0, 0, 0)
	}
	t.reply(d, int(q.Allocation))
	return nil
}
