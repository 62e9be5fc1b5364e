package lun

import (
	"sango/internal/block"
	"sango/internal/scsi"
)

// MaxFenceInstances bounds the instances that one FENCE command names.
const MaxFenceInstances = 256

// fenceCommands returns FENCE (docs/fence.md), by which an initiator ends
// sessions of its own.
func fenceCommands() []command {
	const how = inPlace | keepsAttention | notReady | sanitizing | anyState | standby | fences | apart
	return []command{
		{
			op: scsi.OpFence, sa: scsi.SAFenceInstances, name: "FENCE INSTANCES",
			usage:   "\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00",
			nominal: medium, recommended: long, flags: how, access: accessAny,
			parse: parseFence, run: fenceSessions,
		},
		{
			op: scsi.OpFence, sa: scsi.SAFenceEarlierRuns, name: "FENCE EARLIER RUNS",
			usage:   "\xc1\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00",
			nominal: medium, recommended: long, flags: how, access: accessAny,
			parse: parseFence, run: fenceSessions,
		},
	}
}

func parseFence(t *Task) error {
	f := scsi.ParseFence(&t.CDB)
	if f.Length > scsi.FenceHeaderLen+MaxFenceInstances*scsi.FenceEntryLen {
		return scsi.InvalidField(scsi.FenceLengthAt, -1)
	}
	t.need = int(f.Length)
	return nil
}

// fenceSessions leaves the waiting to the transport. So it holds no worker,
// which the tasks that it waits for may need; and it ends at once when its own
// session does: of two sessions that fence each other, each waits for the tasks
// of the other.
func fenceSessions(t *Task) error {
	fencer := t.nexus.fencer
	own := fencer.Fencing().Instance
	if own.IsZero() {
		return scsi.Check(scsi.IllegalRequest, scsi.ASCCommandSequence)
	}
	if t.Out.Len() < t.need {
		return scsi.Check(scsi.IllegalRequest, scsi.ASCParameterListLength)
	}
	l, cc := scsi.ParseFenceList(t.outBytes(t.need), t.cmd.sa)
	if cc != nil {
		return cc
	}
	if at, ok := l.Names(own); ok {
		return scsi.InvalidParameter(at, -1)
	}
	started := fencer.Fence(l, t.stopped(), func(ended bool) {
		var err error
		if !ended {
			var stopped bool
			if stopped, err = t.halted(); !stopped {
				err = busy()
			}
		}
		t.finish(err)
	})
	if !started {
		return busy()
	}
	return errPending
}

// busy ends a command that the host is to send again.
func busy() error { return &block.Error{Class: block.Busy} }
