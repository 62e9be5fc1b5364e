package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"sango/internal/san"
)

// sample is a frame: what makes it, and what reads its body back.
type sample struct {
	name  string
	value any
	frame []byte
	data  int
	parse func([]byte) (any, error)
	hex   string // of the frame
}

func parser[T any](f func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return f(b) }
}

var (
	cluster = san.UUID{0xc0, 15: 1}
	volume  = san.UUID{0xb0, 15: 2}
	nexusID = san.NexusID{
		Initiator: san.InitiatorPort{Name: "iqn.i", ISID: san.ISID{1, 2, 3, 4, 5, 6}},
		Target:    san.TargetPort{Name: "iqn.t", TPG: 7},
	}
)

func samples() []sample {
	hello := Hello{Min: 1, Max: 3, Cluster: cluster, From: Member{"a", 7}, To: Member{"bb", 9}, Line: 2}
	welcome := Welcome{Version: 1, MaxAge: 3000, Stamp: 5, Commands: 4096, Bytes: 1 << 40, Nexuses: 10}
	refused := Refused{Reason: ReasonGone, Text: "over"}
	beat := Beat{Stamp: 0x0102030405060708}
	open := NexusOpen{Handle: 3, Nexus: nexusID, Fresh: true, Doubt: true, LUN: 300, Volume: volume, Epoch: 6, Instance: san.Instance{Group: 1, Run: 2, Login: 3}, Login: 1 << 63}
	opened := NexusOpened{Handle: 3, Commands: 128, Bytes: 1 << 33, Text: "x"}
	closing, closed := NexusClose{3}, NexusClosed{4}
	synced := Synced{Volume: volume, Epoch: 6}
	command := Command{
		Handle: 3, Tag: 4, Seq: 5, Token: 7, CDB: [16]byte{0x2a, 9: 1},
		TaskTag: 9, Expected: 10, Out: 11, Attr: 2, Flags: FlagWrite, Ask: 1,
	}
	commandFrame := make([]byte, HeaderLen+CommandLen)
	command.Put(commandFrame, 11)
	data := Data{Tag: 4}
	dataFrame := make([]byte, HeaderLen+DataLen)
	data.Put(dataFrame, TypeDataIn, 512)
	response := Response{Tag: 4, Outcome: Done, Status: 2, DSense: true, Want: 9, In: 8, Sense: []byte{0x70, 0, 6}}
	responseFrame := make([]byte, response.Len())
	response.Put(responseFrame, 8)
	cancel := Cancel{Tag: 4, Hasten: true}
	manage := Manage{ID: 1, Handle: 3, Function: 5, TaskTag: 9, Upto: 77}
	managed := Managed{ID: 1, Outcome: Moved, Response: 255}
	tell := Tell{ID: 1, Handle: 3, ASC: 0x2a03, Flags: TellAbort | TellDrop | TellTAS}
	told := Told{1}
	fence := Fence{ID: 1, Action: 1, Initiator: "iqn.i"}
	fenced := Fenced{ID: 1, OK: true}
	return []sample{
		{"Hello", hello, hello.Append(nil), 0, parser(ParseHello), "01000035 00000000 53414e474f524c59 0001 0003 c0000000000000000000000000000001 0000000000000007 0000000000000009 0002 0001 61 0002 6262"},
		{"Welcome", welcome, welcome.Append(nil), 0, parser(ParseWelcome), ""},
		{"Refused", refused, refused.Append(nil), 0, parser(ParseRefused), "03000008 00000000 0002 0004 6f766572"},
		{"Beat", beat, beat.Append(nil), 0, parser(func(b []byte) (Beat, error) { return ParseBeat(b, MinVersion) }), "04000008 00000000 0102030405060708"},
		{"NexusOpen", open, open.Append(nil), 0, parser(ParseNexusOpen), ""},
		{"NexusOpened", opened, opened.Append(nil), 0, parser(ParseNexusOpened), ""},
		{"NexusClose", closing, closing.Append(nil), 0, parser(ParseNexusClose), "0a000004 00000000 00000003"},
		{"NexusClosed", closed, closed.Append(nil), 0, parser(ParseNexusClosed), "0b000004 00000000 00000004"},
		{"Synced", synced, synced.Append(nil), 0, parser(ParseSynced), "0c000018 00000000 b0000000000000000000000000000002 0000000000000006"},
		{
			"Command", command, commandFrame, 11, parser(ParseCommand),
			"10000038 0000000b 00000003 00000004 0000000000000005 0000000000000007 2a000000000000000001000000000000 00000009 0000000a 0000000b 02 02 01 00",
		},
		{"DataIn", data, dataFrame, 512, parser(ParseData), "12000004 00000200 00000004"},
		{"Response", response, responseFrame, 8, parser(ParseResponse), "13000017 00000008 00000004 00 02 01 03 0000000000000009 00000008 700006"},
		{"Cancel", cancel, cancel.Append(nil), 0, parser(ParseCancel), "14000005 00000000 00000004 01"},
		{"Manage", manage, manage.Append(nil), 0, parser(ParseManage), ""},
		{"Managed", managed, managed.Append(nil), 0, parser(ParseManaged), "19000006 00000000 00000001 02 ff"},
		{"Tell", tell, tell.Append(nil), 0, parser(ParseTell), "1a00000b 00000000 00000001 00000003 2a03 15"},
		{"Told", told, told.Append(nil), 0, parser(ParseTold), "1b000004 00000000 00000001"},
		{"Fence", fence, fence.Append(nil, []byte("12345678")), 8, parser(ParseFence), ""},
		{"Fenced", fenced, fenced.Append(nil), 0, parser(ParseFenced), "1d000005 00000000 00000001 01"},
	}
}

func TestFrames(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			h, err := ParseHeader(s.frame)
			if err != nil || h.Type.String() != s.name || h.Data != s.data {
				t.Fatalf("%+v, %v", h, err)
			}
			if want, _ := hex.DecodeString(strings.ReplaceAll(s.hex, " ", "")); s.hex != "" && !bytes.Equal(s.frame, want) {
				t.Fatalf("%x", s.frame)
			}
			body := s.frame[HeaderLen : HeaderLen+h.Body]
			if got, err := s.parse(body); err != nil || !reflect.DeepEqual(got, s.value) {
				t.Fatalf("%+v, %v\nwant %+v", got, err, s.value)
			}
			later := append(bytes.Clone(body), 1, 2, 3) // a later version appended to it
			if got, err := s.parse(later); err != nil || !reflect.DeepEqual(got, s.value) {
				t.Fatalf("with an appendix: %+v, %v", got, err)
			}
			for n := range body {
				if s.name == "NexusOpen" && n == len(body)-8 { // see TestNexusOpenOfBefore
					continue
				}
				if got, err := s.parse(body[:n]); err == nil {
					t.Fatalf("cut to %d bytes it is %+v", n, got)
				}
			}
		})
	}
}

// A front of an earlier version does not tell the login.
func TestNexusOpenOfBefore(t *testing.T) {
	open := NexusOpen{Handle: 3, Nexus: nexusID, Fresh: true, Volume: volume, Epoch: 6, Login: 9}
	b := open.Append(nil)
	got, err := ParseNexusOpen(b[HeaderLen : len(b)-8])
	open.Login = 0
	if err != nil || got != open {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestHeaderLimits(t *testing.T) {
	for _, h := range []Header{
		{Type: TypeCommand, Body: MaxBody + 1},
		{Type: TypeCommand, Data: MaxData + 1},
		{Type: TypeBeat, Data: 1},
	} {
		var b [HeaderLen]byte
		h.Put(b[:])
		var e *Error
		if _, err := ParseHeader(b[:]); !errors.As(err, &e) {
			t.Errorf("%+v: %v", h, err)
		}
	}
	for n := range HeaderLen {
		if _, err := ParseHeader(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are a header", n)
		}
	}
	// A type of a later version is passed over, with its data.
	var b [HeaderLen]byte
	Header{Type: 200, Body: 4, Data: 5}.Put(b[:])
	if h, err := ParseHeader(b[:]); err != nil || h.Data != 5 {
		t.Errorf("%+v, %v", h, err)
	}
}

// Two programs speak the highest version that both know, whoever calls.
func TestAgree(t *testing.T) {
	for _, c := range []struct {
		lo, hi, ourLo, ourHi, want Version
		ok                         bool
	}{
		{1, 1, 1, 1, 1, true},
		{1, 2, 1, 1, 1, true}, // the caller is newer
		{1, 1, 1, 2, 1, true}, // we are
		{1, 3, 2, 4, 3, true},
		{1, 1, 2, 3, 0, false},
		{4, 5, 2, 3, 0, false},
		{3, 1, 1, 3, 0, false},
	} {
		v, ok := agree(c.lo, c.hi, c.ourLo, c.ourHi)
		if ok != c.ok || ok && v != c.want {
			t.Errorf("%d–%d with %d–%d: %d, %v", c.lo, c.hi, c.ourLo, c.ourHi, v, ok)
		}
	}
	if _, ok := Agree(MinVersion, MaxVersion); !ok {
		t.Error("this program does not speak with itself")
	}
}

func TestOutcomes(t *testing.T) {
	for o := Done; o < 10; o++ {
		r := Response{Outcome: o}
		b := make([]byte, r.Len())
		r.Put(b, 0)
		if _, err := ParseResponse(b[HeaderLen:]); (err == nil) != (o <= Stale) {
			t.Errorf("outcome %d: %v", o, err)
		}
	}
}

func TestCost(t *testing.T) {
	c := Command{Flags: FlagRead, Expected: 1 << 31}
	if c.Cost() != costMax {
		t.Error(c.Cost())
	}
	if c = (Command{Flags: FlagWrite, Expected: 4096, Out: 512}); c.Cost() != 512 {
		t.Error(c.Cost())
	}
}

// Names that are too long are cut by who sends, and refused by who receives.
func TestLongStrings(t *testing.T) {
	f := Refused{Text: strings.Repeat("x", maxText+1)}
	got, err := ParseRefused(f.Append(nil)[HeaderLen:])
	if err != nil || len(got.Text) != maxText {
		t.Errorf("%d, %v", len(got.Text), err)
	}
	b := appendText([]byte{0, 1}, strings.Repeat("x", maxText+1), maxText+1)
	if _, err := ParseRefused(b); err == nil {
		t.Error("a text past its limit was taken")
	}
}

// FuzzParse reads anything as a frame: nothing panics, and what is read is the
// same when it was written again.
func FuzzParse(f *testing.F) {
	all := samples()
	for i, s := range all {
		f.Add(byte(i), s.frame[HeaderLen:])
	}
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		s := all[int(which)%len(all)]
		got, err := s.parse(body)
		if err != nil {
			return
		}
		var again []byte
		switch v := got.(type) {
		case Command:
			again = make([]byte, HeaderLen+CommandLen)
			v.Put(again, 0)
		case Response:
			again = make([]byte, v.Len())
			v.Put(again, 0)
		case Data:
			again = make([]byte, HeaderLen+DataLen)
			v.Put(again, TypeDataIn, 0)
		case Fence:
			again = v.Append(nil, nil)
		default:
			p := reflect.New(reflect.TypeOf(got))
			p.Elem().Set(reflect.ValueOf(got))
			again = p.Interface().(interface{ Append([]byte) []byte }).Append(nil)
		}
		h, err := ParseHeader(again)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := s.parse(again[HeaderLen : HeaderLen+h.Body]); err != nil || !reflect.DeepEqual(back, got) {
			t.Fatalf("%+v became %+v, %v", got, back, err)
		}
	})
}

func FuzzHeader(f *testing.F) {
	for _, s := range samples() {
		f.Add(s.frame[:HeaderLen])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		if h.Body > MaxBody || h.Data > MaxData || h.Body < 0 || h.Data < 0 {
			t.Fatalf("%+v", h)
		}
		again := make([]byte, HeaderLen)
		h.Put(again)
		if back, err := ParseHeader(again); err != nil || back != h {
			t.Fatalf("%+v became %+v, %v", h, back, err)
		}
	})
}
