//go:build !race

package layered

// crashStride is 1: the crash tests try every point.
const crashStride = 1
