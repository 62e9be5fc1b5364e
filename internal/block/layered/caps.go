package layered

import "sango/internal/block"

// Caps returns the capabilities that every volume has once it is open for
// writing. Who opens volumes late tells them before.
func Caps() block.Caps {
	return block.Caps{
		Discard: block.Native, WriteZeroes: block.Native, FUA: block.Native,
		WriteBack: true, AtomicMax: atomicMax, Granularity: granularity,
	}
}
