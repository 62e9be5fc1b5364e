package scsi

import "testing"

// BenchmarkCDB reads and writes the CDB of a READ.
func BenchmarkCDB(b *testing.B) {
	for _, op := range []OpCode{OpRead10, OpRead16} {
		want := Blocks{LBA: 1 << 20, Blocks: 8}
		cdb, err := want.CDB(op)
		if err != nil {
			b.Fatal(err)
		}
		name := "cdb=10"
		if op == OpRead16 {
			name = "cdb=16"
		}
		b.Run(name+"/op=parse", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := ParseBlocks(&cdb); got.LBA != want.LBA {
					b.Fatal(got)
				}
			}
		})
		b.Run(name+"/op=put", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := want.CDB(op); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSense reads and writes sense data with a field pointer, in both
// formats.
func BenchmarkSense(b *testing.B) {
	want := InvalidField(2, 7).Sense
	for _, desc := range []bool{false, true} {
		name := "format=fixed"
		if desc {
			name = "format=descriptor"
		}
		out := make([]byte, 0, MaxSense)
		wire := want.Append(nil, desc)
		b.Run(name+"/op=append", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				out = want.Append(out[:0], desc)
			}
		})
		b.Run(name+"/op=parse", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got, err := ParseSense(wire); err != nil || got.ASC != want.ASC {
					b.Fatal(got, err)
				}
			}
		})
	}
}
