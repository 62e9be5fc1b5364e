//go:build invariants

package bufpool

func poison(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}

func misuse(what string, b *Buf) { panic(describe(what, b)) }
