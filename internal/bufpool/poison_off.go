//go:build !invariants

package bufpool

import "log/slog"

func poison([]byte) {}

// misuse keeps the process alive: the buffer is left to the garbage
// collector instead of being pooled twice.
func misuse(what string, b *Buf) { slog.Error(describe(what, b)) }
