// Package multipath makes one block.Device of the paths that lead to a volume:
// it finds them, keeps a session on each, chooses one for every request, and
// sends what a failed path left unanswered down another: reads at once, writes
// when the first copy can no longer land (DESIGN R4, docs/fence.md).
//
// What to do is decided by the engine, a pure machine without clock, network
// or goroutines; the Device is what acts: it hands events to the engine under
// one short lock, and carries out the actions that come back. A request is
// chosen a path and handed to the session on its submitter's goroutine, and
// ends on the goroutine of the session that read the answer; there is no hop
// between them.
package multipath
