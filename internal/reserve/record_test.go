package reserve

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// registered is a state in which a1@1 and b1@1 are registered and a1@1 holds a
// reservation of kind.
func registered(t testing.TB, kind pr.Type) *State {
	s := &State{}
	for i, n := range []string{"a1@1", "b1@1"} {
		s, _ = s.Step(&Request{Nexus: nexusOf(t, n), Action: pr.Register, Out: &pr.Out{ActionKey: pr.Key(i + 1), APTPL: true}})
	}
	s, _ = s.Step(&Request{Nexus: nexusOf(t, "a1@1"), Action: pr.Reserve, Type: kind, Out: &pr.Out{Key: 1}})
	return s
}

// TestConflictTable is the table of SPC-4 (66 to 68) and SBC-3 (14), written
// down once more: for each type what a stranger and what a registrant may do.
func TestConflictTable(t *testing.T) {
	want := strings.TrimSpace(`
Write Exclusive                    stranger read       registrant read       holder read write
Exclusive Access                   stranger            registrant            holder read write
Write Exclusive - Registrants Only stranger read       registrant read write holder read write
Exclusive Access - Registrants Only stranger            registrant read write holder read write
Write Exclusive - All Registrants  stranger read       registrant read write holder read write
Exclusive Access - All Registrants stranger            registrant read write holder read write`)
	var got []string
	for _, kind := range pr.Types() {
		line := kind.String()
		for st, name := range []string{"stranger", "registrant", "holder"} {
			line += " " + name
			if !Stops(kind, Standing(st), AccessRead) {
				line += " read"
			}
			if !Stops(kind, Standing(st), AccessWrite) {
				line += " write"
			}
			if Stops(kind, Standing(st), AccessNone) {
				t.Errorf("%v stops INQUIRY of a %s", kind, name)
			}
		}
		got = append(got, line)
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for i, line := range strings.Split(want, "\n") {
		if squeeze(line) != squeeze(got[i]) {
			t.Errorf("got  %s\nwant %s", squeeze(got[i]), squeeze(line))
		}
	}
	if Stops(9, Stranger, AccessWrite) || Stops(0, Stranger, AccessWrite) {
		t.Error("what is no reservation stops a command")
	}
}

func TestRecordRefused(t *testing.T) {
	good := string(registered(t, pr.ExclusiveAccess).Encode())
	if _, err := Decode([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, record := range map[string]string{
		"not JSON":            "{",
		"version":             strings.Replace(good, `"version":1`, `"version":2`, 1),
		"type":                strings.Replace(good, `"type":3`, `"type":4`, 1),
		"holder for all":      strings.Replace(good, `"type":3`, `"type":8`, 1),
		"key 0":               strings.Replace(good, `"key":"2"`, `"key":"0"`, 1),
		"key not hexadecimal": strings.Replace(good, `"key":"2"`, `"key":"z"`, 1),
		"ISID":                strings.ReplaceAll(good, `"000000000001"`, `"00"`),
		"the same nexus":      strings.ReplaceAll(good, "iqn.b", "iqn.a"),
		"stranger holds":      strings.Replace(good, "iqn.a", "iqn.z", 1),
		"nobody registered":   `{"version":1,"type":7}`,
		"holder of nothing":   strings.Replace(good, `"type":3,`, ``, 1),
	} {
		if record == good {
			t.Fatalf("%s: nothing was replaced", name)
		}
		if _, err := Decode([]byte(record)); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if s, err := Decode(nil); err != nil || len(s.Registrations()) != 0 {
		t.Errorf("no record: %v, %v", s, err)
	}
}

// A record tells which login holds a RESERVE(6), and one of a program that does
// not know logins is read as well.
func TestRecordOfLogin(t *testing.T) {
	a, b := nexusOf(t, "a1@1"), nexusOf(t, "b1@1")
	held, _ := (&State{}).Reserve6(a, 0xfedcba9876543210)
	record := string(held.Encode())
	s, err := Decode([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := s.Legacy(); !ok || n != a || s.Login() != 0xfedcba9876543210 {
		t.Errorf("held: %v, in login %x: %s", ok, s.Login(), record)
	}
	if next, ok := s.Reserve6(a, 0xfedcba9876543210); next != s || !ok {
		t.Error("it reserves what it holds, and that changes something")
	}
	next, ok := s.Reserve6(a, 5)
	if !ok || next.Login() != 5 {
		t.Error("a later login does not hold what it has reserved")
	}
	if _, ok := next.Reserve6(b, 5); ok {
		t.Error("two hold it")
	}
	if n := next.Reset(); n.Login() != 0 || string(n.Encode()) != string((&State{}).Encode()) {
		t.Errorf("after a reset: %s", n.Encode())
	}
	login := `,"login":"fedcba9876543210"`
	old := strings.Replace(record, login, "", 1)
	if old == record {
		t.Fatal(record)
	}
	if s, err = Decode([]byte(old)); err != nil || s.Login() != 0 || string(s.Encode()) != old {
		t.Errorf("one from before: %v, login %x", err, s.Login())
	}
	for _, bad := range []string{"0", "x", "10000000000000000"} {
		if _, err := Decode([]byte(strings.Replace(record, "fedcba9876543210", bad, 1))); !errors.Is(err, ErrRecord) {
			t.Errorf("login %s: %v", bad, err)
		}
	}
}

func TestTooManyRegistrations(t *testing.T) {
	s := (&State{}).clone()
	n := nexusOf(t, "a1@1")
	for i := range MaxRegistrations {
		n.Initiator.Name = fmt.Sprintf("iqn.%d", i)
		s.set(n, 1)
	}
	next, out := s.Step(&Request{Nexus: nexusOf(t, "b1@1"), Action: pr.Register, Out: &pr.Out{ActionKey: 1}})
	if next != s || out.Check == nil || out.Check.Sense.ASC != scsi.ASCInsufficientRegistrations {
		t.Errorf("one more: %+v", out)
	}
	if _, err := Decode(s.Encode()); err != nil {
		t.Error(err)
	}
}

func TestConflictsAllocatesNothing(t *testing.T) {
	s, n := registered(t, pr.ExclusiveAccessRegistrantsOnly), nexusOf(t, "b1@1")
	if got := testing.AllocsPerRun(100, func() { s.Conflicts(n, AccessWrite) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(registered(f, pr.ExclusiveAccess).Encode())
	f.Add(registered(f, pr.WriteExclusiveAllRegistrants).Encode())
	f.Add((&State{}).Encode())
	six, _ := (&State{}).Reserve6(nexusOf(f, "a1@1"), 7)
	f.Add(six.Encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := Decode(in)
		if err != nil {
			return
		}
		again, err := Decode(s.Encode())
		if err != nil || !bytes.Equal(again.Encode(), s.Encode()) {
			t.Fatalf("%v: %s", err, s.Encode())
		}
	})
}
