// Package bench makes load on a volume and measures it.
//
// # Load
//
// A run has sessions, and each session a number of slots: the depth. A slot
// issues one request after the other; it does so on the goroutine that
// completed the last one, so that requests which were answered together are
// issued together. A slot has its request, its buffer and its source of random
// numbers for itself; nothing is allocated per request. Where all requests are
// writes that nobody verifies, they share one buffer, as those of qemu-img bench
// do: else large ones would measure how fast buffers come from memory.
//
// # What the numbers mean
//
// Without a rate the loop is closed: a slot waits for its answer before it goes
// on, so a volume that stalls gets less load while it does, and the stall
// counts once per slot however many requests would have come in that time
// (coordinated omission). With a rate, the time at which each request is due is
// fixed in advance, and its latency counts from then, whether it could be
// issued in time or not.
//
// # Verification
//
// Each logical block that a verifying run writes says what it is: offset,
// generation, run, and a checksum over all of it. The run knows the generation
// that every block must hold, so a write that was lost, torn, or went to
// another place is found when the block is read.
package bench
