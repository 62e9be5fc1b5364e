package block

import "testing"

func TestValidate(t *testing.T) {
	full := Info{Size: 1 << 20, BlockSize: 512, PhysicalBlock: 4096, Caps: Caps{
		Discard: Native, WriteZeroes: Native, FUA: Native, AtomicMax: 4096, Granularity: 4096,
	}}
	bare := Info{Size: 1 << 20, BlockSize: 512, PhysicalBlock: 512}
	sealed := full
	sealed.Caps.ReadOnly = true
	data := func(n int) [][]byte { return [][]byte{make([]byte, n)} }
	for name, c := range map[string]struct {
		r    Request
		in   Info
		want Class
	}{
		"read":                     {Request{Op: OpRead, Len: 512, Bufs: data(512)}, full, 0},
		"write":                    {Request{Op: OpWrite, Off: 512, Len: 512, Bufs: data(512), Flags: FUA | NoWait | Atomic}, full, 0},
		"flush":                    {Request{Op: OpFlush, Flags: NoWait}, full, 0},
		"flush of a read-only one": {Request{Op: OpFlush}, sealed, 0},
		"flush with a range":       {Request{Op: OpFlush, Len: 512}, full, Invalid},
		"flush with FUA":           {Request{Op: OpFlush, Flags: FUA}, full, Invalid},
		"nothing":                  {Request{}, full, Unsupported},
		"unknown":                  {Request{Op: 77}, full, Unsupported},
		"read with FUA":            {Request{Op: OpRead, Len: 512, Bufs: data(512), Flags: FUA}, full, Invalid},
		"discard with MayUnmap":    {Request{Op: OpDiscard, Len: 512, Flags: MayUnmap}, full, Invalid},
		"discard with data":        {Request{Op: OpDiscard, Len: 512, Bufs: data(512)}, full, Invalid},
		"short buffers":            {Request{Op: OpWrite, Len: 1024, Bufs: data(512)}, full, Invalid},
		"long buffers":             {Request{Op: OpRead, Len: 512, Bufs: data(1024)}, full, Invalid},
		"past the end":             {Request{Op: OpRead, Off: 1 << 20, Len: 512, Bufs: data(512)}, full, Invalid},
		"nothing at the end":       {Request{Op: OpRead, Off: 1 << 20}, full, 0},
		"overflow":                 {Request{Op: OpDiscard, Off: 512, Len: 1<<63 - 512}, full, Invalid},
		"negative":                 {Request{Op: OpDiscard, Off: -512, Len: 512}, full, Invalid},
		"misaligned":               {Request{Op: OpDiscard, Off: 1, Len: 512}, full, Invalid},
		"write to a read-only one": {Request{Op: OpWrite, Len: 512, Bufs: data(512)}, sealed, ReadOnly},
		"no discard":               {Request{Op: OpDiscard, Len: 512}, bare, Unsupported},
		"no zeroes":                {Request{Op: OpWriteZeroes, Len: 512}, bare, Unsupported},
		"no FUA":                   {Request{Op: OpWrite, Len: 512, Bufs: data(512), Flags: FUA}, bare, Unsupported},
		"no atomic":                {Request{Op: OpWrite, Len: 512, Bufs: data(512), Flags: Atomic}, bare, Unsupported},
		"atomic too long":          {Request{Op: OpWrite, Len: 8192, Bufs: data(8192), Flags: Atomic}, full, Invalid},
	} {
		if got := ClassOf(Validate(&c.r, &c.in)); got != c.want {
			t.Errorf("%s: class %v, want %v", name, got, c.want)
		}
	}
}
