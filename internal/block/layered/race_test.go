//go:build race

package layered

// crashStride: the crash tests run on one goroutine, so that the race detector
// finds little in them, at ten times the cost; it gets every seventh point.
// Builds without it try them all.
const crashStride = 7
