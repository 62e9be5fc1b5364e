package lun

import (
	"sango/internal/block"
	"sango/internal/bufpool"
	"sango/internal/scsi"
)

// readyCommands returns TEST UNIT READY (SPC-4 §6.47) and SEND DIAGNOSTIC
// (SPC-4 §6.42).
func readyCommands() []command {
	return []command{
		{
			op: scsi.OpTestUnitReady, name: "TEST UNIT READY",
			usage:   "\x00\x00\x00\x00\x00\x00",
			nominal: quick, recommended: medium,
			flags: inPlace, access: accessAny,
			run: func(*Task) error { return nil }, // whether the unit is ready was asked before
		},
		{
			op: scsi.OpSendDiagnostic, name: "SEND DIAGNOSTIC",
			usage:   "\x1d\x04\x00\x00\x00\x00",
			nominal: medium, recommended: long,
			flags: standby, access: accessWrite,
			run: selfTest,
		},
	}
}

// selfTest is the default self-test, the only diagnostic there is: the first
// and the last block can be read.
func selfTest(t *Task) error {
	if t.CDB[1]&0x04 == 0 { // nothing asked for: no parameter list is taken
		return nil
	}
	in := t.unit.dev.Info()
	b := bufpool.Get(in.BlockSize)
	defer b.Release()
	for _, off := range []int64{0, in.Size - int64(in.BlockSize)} {
		if err := t.do(block.OpRead, 0, off, int64(in.BlockSize), [][]byte{b.B}); err != nil {
			t.unit.o.Logger.Error("self-test failed", "volume", t.unit.vol.Name, "err", err)
			return scsi.Check(scsi.HardwareError, scsi.ASCSelfTestFailed)
		}
	}
	return nil
}
