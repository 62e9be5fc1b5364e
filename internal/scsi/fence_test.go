package scsi

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/san"
)

func TestFenceCDB(t *testing.T) {
	for cdb, want := range map[string]Fence{
		"c1 00 0000000000000000 00000030 00 00": {Action: SAFenceInstances, Length: 48},
		"c1 01 0000000000000000 01020304 00 00": {Action: SAFenceEarlierRuns, Length: 0x01020304},
	} {
		c := cdbOf(t, cdb)
		if got := ParseFence(c); got != want {
			t.Errorf("%s: got %+v, want %+v", cdb, got, want)
		}
		if back := want.CDB(); back != *c {
			t.Errorf("%+v: got % x, want % x", want, back, *c)
		}
	}
	if n := OpFence.CDBLen(); n != 16 || !OpFence.HasServiceAction() {
		t.Errorf("FENCE has %d bytes, service actions: %v", n, OpFence.HasServiceAction())
	}
}

func TestFenceList(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action ServiceAction
		list   FenceList
		data   string
	}{
		{
			"instances", SAFenceInstances,
			FenceList{Group: 0x0102030405060708, Entries: []FenceEntry{{1, 2}, {0x1112131415161718, 0x191a1b1c}}},
			`01 00 0002 0102030405060708 0000000000000000 00000000
			 0000000000000001 00000002 1112131415161718 191a1b1c`,
		},
		{"earlier runs", SAFenceEarlierRuns, FenceList{Group: 1, Run: 0x0102030405060708}, "01 00 0000 0000000000000001 0102030405060708 00000000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := tt.list.Append(nil)
			wantBytes(t, "list", data, unhex(t, tt.data))
			back, cc := ParseFenceList(append(data, 1, 2, 3), tt.action) // what follows is not looked at
			if cc != nil {
				t.Fatal(cc)
			}
			if d := cmp.Diff(tt.list, back); d != "" {
				t.Error(d)
			}
			for i := range data {
				if _, cc := ParseFenceList(data[:i], tt.action); cc == nil || cc.Sense.ASC != ASCParameterListLength {
					t.Fatalf("cut to %d bytes: got %v, want PARAMETER LIST LENGTH ERROR", i, cc)
				}
			}
		})
	}
}

func TestFenceListIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action ServiceAction
		data   string
		field  uint16
	}{
		{"version", SAFenceInstances, "02 00 0001 0000000000000001 0000000000000000 00000000 0000000000000001 00000002", 0},
		{"no instance", SAFenceInstances, "01 00 0000 0000000000000001 0000000000000000 00000000", 2},
		{"instances of earlier runs", SAFenceEarlierRuns, "01 00 0001 0000000000000001 0000000000000001 00000000 0000000000000001 00000002", 2},
		{"no group", SAFenceEarlierRuns, "01 00 0000 0000000000000000 0000000000000001 00000000", 4},
		{"run beside instances", SAFenceInstances, "01 00 0001 0000000000000001 0000000000000001 00000000 0000000000000001 00000002", 12},
	} {
		_, cc := ParseFenceList(unhex(t, tt.data), tt.action)
		if cc == nil || cc.Sense.Key != IllegalRequest || cc.Sense.ASC != ASCInvalidFieldInParameterList || !cc.Sense.HasField || cc.Sense.Field != tt.field {
			t.Errorf("%s: got %+v, want a pointer to byte %d", tt.name, cc, tt.field)
		}
	}
}

func TestFenceListNames(t *testing.T) {
	instances := FenceList{Group: 7, Entries: []FenceEntry{{Run: 1, Login: 2}, {Run: 3, Login: 4}}}
	earlier := FenceList{Group: 7, Run: 3}
	for _, tt := range []struct {
		list *FenceList
		i    san.Instance
		at   uint16
		ok   bool
	}{
		{&instances, san.Instance{Group: 7, Run: 1, Login: 2}, 24, true},
		{&instances, san.Instance{Group: 7, Run: 3, Login: 4}, 36, true},
		{&instances, san.Instance{Group: 7, Run: 3, Login: 2}, 0, false},
		{&instances, san.Instance{Group: 8, Run: 3, Login: 4}, 0, false},
		{&instances, san.Instance{}, 0, false},
		{&earlier, san.Instance{Group: 7, Run: 2, Login: 99}, 12, true},
		{&earlier, san.Instance{Group: 7, Run: 3}, 0, false},
		{&earlier, san.Instance{Group: 7, Run: 4}, 0, false},
		{&earlier, san.Instance{Group: 6, Run: 1}, 0, false},
		{&FenceList{}, san.Instance{}, 0, false},
	} {
		if at, ok := tt.list.Names(tt.i); at != tt.at || ok != tt.ok {
			t.Errorf("%+v names %v: got %v at %d, want %v at %d", tt.list, tt.i, ok, at, tt.ok, tt.at)
		}
	}
}

func FuzzParseFenceList(f *testing.F) {
	l := FenceList{Group: 1, Entries: []FenceEntry{{1, 2}, {3, 4}}}
	f.Add(l.Append(nil), false)
	l = FenceList{Group: 1, Run: 9}
	f.Add(l.Append(nil), true)
	f.Fuzz(func(t *testing.T, in []byte, earlier bool) {
		action := SAFenceInstances
		if earlier {
			action = SAFenceEarlierRuns
		}
		l, cc := ParseFenceList(in, action)
		if cc != nil {
			return
		}
		again, cc := ParseFenceList(l.Append(nil), action)
		if cc != nil {
			t.Fatal(cc)
		}
		if d := cmp.Diff(l, again); d != "" {
			t.Fatal(d)
		}
		for _, e := range l.Entries {
			at, ok := l.Names(san.Instance{Group: l.Group, Run: e.Run, Login: e.Login})
			if !ok || int(at)+FenceEntryLen > len(in) {
				t.Fatalf("%+v is not named, or lies at %d past the list", e, at)
			}
		}
	})
}
