package lun

import "sango/internal/scsi"

// readyCommands returns TEST UNIT READY (SPC-4 §6.47).
func readyCommands() []command {
	return []command{{
		op: scsi.OpTestUnitReady, name: "TEST UNIT READY",
		usage:   "\x00\x00\x00\x00\x00\x00",
		nominal: quick, recommended: medium,
		flags: inPlace, access: accessAny,
		run: func(*Task) error { return nil }, // whether the unit is ready was asked before
	}}
}
