package gateway

import (
	"sango/internal/block/layered/vfs"
	"sango/internal/san"
)

// boots are what hosts are told of the boot of the machine that holds what is
// cached of a volume (docs/fence.md, BOOT).
type boots struct {
	machine san.UUID // zero: not known
	process san.UUID // of volumes in memory, which don't outlive the process
}

// thisBoot returns the boots of this process; those that are known even where
// it fails.
func thisBoot() (boots, error) {
	id, err := vfs.OS{}.BootID()
	return boots{machine: id, process: san.NewUUID()}, err
}

// of returns the one of v. Files are cached by the kernel: what they were
// written survives the process, not the machine.
func (b *boots) of(v *san.Volume) san.UUID {
	if v.Driver == san.DriverMem {
		return b.process
	}
	return b.machine
}
