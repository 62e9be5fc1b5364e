package meta

import "testing"

// What was read at once is what each unit finds when it begins; what is saved
// after that is found as well.
func TestUnitsReadAtOnce(t *testing.T) {
	s := fresh(t)
	a, b := volume(t, s, "a"), volume(t, s, "b")
	if err := s.Unit(a.ID).Save("modes", []byte("old")); err != nil {
		t.Fatal(err)
	}
	units, err := s.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unit(a.ID).Save("modes", []byte("newer")); err != nil {
		t.Fatal(err)
	}
	ua, ub := units.Unit(a.ID), units.Unit(b.ID)
	load := func(u *UnitState, want string) {
		t.Helper()
		got, err := u.Load("modes")
		if err != nil || string(got) != want || (got == nil) != (want == "") {
			t.Errorf("loaded %q, %v; want %q", got, err, want)
		}
	}
	load(ua, "old") // nothing was asked of the store
	load(ua, "newer")
	load(ub, "")
	if err := ub.Save("modes", []byte("b")); err != nil {
		t.Fatal(err)
	}
	load(ub, "b")
	load(s.Unit(b.ID), "b")
	if err := ub.Save("reservations", nil); err != nil { // one that was never loaded
		t.Fatal(err)
	}
}

// A state that somebody else has changed since is not overwritten.
func TestUnitsReadAtOnceAreGuarded(t *testing.T) {
	s := fresh(t)
	v := volume(t, s, "v")
	units, err := s.Units(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u := units.Unit(v.ID)
	if _, err := u.Load("modes"); err != nil {
		t.Fatal(err)
	}
	if err := s.Unit(v.ID).Save("modes", []byte("theirs")); err != nil {
		t.Fatal(err)
	}
	if err := u.Save("modes", []byte("ours")); err == nil {
		t.Error("the newer state was overwritten")
	}
	if b, err := u.Load("modes"); err != nil || string(b) != "theirs" {
		t.Errorf("loaded %q, %v", b, err)
	}
}

// Where others change the store, nothing is read before it is needed.
func TestUnitsOfASharedStoreAreReadLate(t *testing.T) {
	s := fresh(t)
	v := volume(t, s, "v")
	s.opts.Member = &Member{}
	units, err := s.Units(t.Context())
	s.opts.Member = nil
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unit(v.ID).Save("modes", []byte("theirs")); err != nil {
		t.Fatal(err)
	}
	if b, err := units.Unit(v.ID).Load("modes"); err != nil || string(b) != "theirs" {
		t.Errorf("loaded %q, %v", b, err)
	}
}
