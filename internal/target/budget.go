package target

import "sync/atomic"

// budget bounds the bytes that connections hold for their tasks (DESIGN R9).
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes. It reports false, and reserves nothing, when that
// would exceed the limit.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// give returns n bytes.
func (b *budget) give(n int64) { b.used.Add(-n) }
