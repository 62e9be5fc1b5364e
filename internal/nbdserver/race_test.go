//go:build race

package nbdserver

// raceEnabled: the race detector makes sync.Pool forget buffers on purpose.
const raceEnabled = true
