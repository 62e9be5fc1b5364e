//go:build !defects

package defect

import "time"

// The rules that are not kept: none.
const (
	Built = false // the program has the switches

	R2  = false
	R3  = false
	R4a = false
	R4b = false
	R4c = false
	R4d = false
	R5  = false
)

// Stood is how long the clock of the gateway's right has stood still: not at
// all.
func Stood() time.Duration { return 0 }
