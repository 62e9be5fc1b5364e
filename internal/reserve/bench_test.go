package reserve

import (
	"fmt"
	"testing"

	"sango/internal/scsi/pr"
)

// crowd is a state in which so many nexuses are registered, the first of them
// holding a reservation, and the last request that was made.
func crowd(b *testing.B, registrations int) (*State, *Request) {
	s, n := &State{}, nexusOf(b, "a1@1")
	var r *Request
	for i := range registrations {
		n.Initiator.Name = fmt.Sprintf("iqn.2026-11.example:host%d", i)
		r = &Request{Nexus: n, Action: pr.RegisterAndIgnore, Out: &pr.Out{ActionKey: pr.Key(i + 1)}}
		s, _ = s.Step(r)
		if i == 0 {
			s, _ = s.Step(&Request{Nexus: n, Action: pr.Reserve, Type: pr.ExclusiveAccessRegistrantsOnly, Out: &pr.Out{Key: 1}})
		}
	}
	if got := len(s.Registrations()); got != registrations || s.Type() == 0 {
		b.Fatalf("%d registrations, type %v", got, s.Type())
	}
	return s, r
}

// BenchmarkConflicts is what each command asks while there is a reservation,
// from the nexus that registered last.
func BenchmarkConflicts(b *testing.B) {
	for _, registrations := range []int{1, 32, MaxRegistrations} {
		b.Run(fmt.Sprintf("registrations=%d", registrations), func(b *testing.B) {
			s, r := crowd(b, registrations)
			b.ReportAllocs()
			for b.Loop() {
				if s.Conflicts(r.Nexus, AccessWrite) {
					b.Fatal("a registrant is stopped")
				}
			}
		})
	}
}

// BenchmarkStep is a registration that changes its key.
func BenchmarkStep(b *testing.B) {
	for _, registrations := range []int{1, 32, MaxRegistrations} {
		b.Run(fmt.Sprintf("registrations=%d", registrations), func(b *testing.B) {
			s, r := crowd(b, registrations)
			b.ReportAllocs()
			for b.Loop() {
				if _, out := s.Step(r); out.Status != 0 {
					b.Fatal(out.Status)
				}
			}
		})
	}
}

// BenchmarkRecord is what is stored and read back with each change.
func BenchmarkRecord(b *testing.B) {
	for _, registrations := range []int{1, 32, MaxRegistrations} {
		s, _ := crowd(b, registrations)
		wire := s.Encode()
		b.Run(fmt.Sprintf("op=encode/registrations=%d", registrations), func(b *testing.B) {
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			for b.Loop() {
				s.Encode()
			}
		})
		b.Run(fmt.Sprintf("op=decode/registrations=%d", registrations), func(b *testing.B) {
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(wire); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
