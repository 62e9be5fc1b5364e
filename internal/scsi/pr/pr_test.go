package pr

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/san"
	"sango/internal/scsi"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\ngot\n%swant\n%s", what, hex.Dump(got), hex.Dump(want))
	}
}

var (
	port   = TransportID{Name: "iqn.a", ISID: san.ISID{0, 2, 0x3d, 0, 0, 1}, HasISID: true}
	device = TransportID{Name: "iqn.1993-08.org.debian:01:abc"}
)

const (
	portHex   = "45 00 0018 69716e2e61 2c692c3078 303030323364303030303031 00 00" // 5+5+12+2
	deviceHex = "05 00 0020 69716e2e313939332d30382e6f72672e64656269616e3a30313a616263 000000"
)

func TestTransportID(t *testing.T) {
	for id, want := range map[TransportID]string{port: portHex, device: deviceHex, {Name: "a"}: "05 00 0014 61" + strings.Repeat("00", 19)} {
		b := id.Append(nil)
		wantBytes(t, id.Name, b, unhex(t, want))
		back, n, err := ParseTransportID(append(b, 0xff))
		if err != nil || n != len(b) || back != id {
			t.Errorf("%s: got %+v, %d bytes, %v", id.Name, back, n, err)
		}
		for i := range b {
			if _, _, err := ParseTransportID(b[:i]); !errors.Is(err, ErrTransportID) {
				t.Fatalf("%s cut to %d bytes: %v", id.Name, i, err)
			}
		}
	}
	for name, b := range map[string]string{
		"fibre channel":    "00 00 0014 61" + strings.Repeat("00", 19),
		"odd length":       "05 00 0015 61" + strings.Repeat("00", 20),
		"format 10b":       "85 00 0014 61" + strings.Repeat("00", 19),
		"no end":           "05 00 0014" + strings.Repeat("61", 20),
		"no name":          "05 00 0014" + strings.Repeat("00", 20),
		"text past end":    "05 00 0014 61 00 61" + strings.Repeat("00", 17),
		"no ISID":          "45 00 0014 61" + strings.Repeat("00", 19),
		"ISID not hex":     "45 00 0018 69716e2e61 2c692c3078 303030323364303030303067 0000",
		"ISID of 11 chars": "45 00 0018 69716e2e61 2c692c3078 3030303233643030303030 000000",
		"long name":        "05 00 00e4" + strings.Repeat("61", 224) + "00000000",
	} {
		if id, _, err := ParseTransportID(unhex(t, b)); !errors.Is(err, ErrTransportID) {
			t.Errorf("%s: got %+v, %v", name, id, err)
		}
	}
	p := san.InitiatorPort{Name: "iqn.a", ISID: san.ISID{0, 2, 0x3d, 0, 0, 1}}
	other := san.InitiatorPort{Name: "iqn.a", ISID: san.ISID{1}}
	if id := IDOf(p); !id.Matches(p) || id.Matches(other) || id != port {
		t.Errorf("%+v is not exactly %v", id, p)
	}
	if id := (TransportID{Name: "iqn.a"}); !id.Matches(p) || !id.Matches(other) {
		t.Error("a name without ISID is not every port of it")
	}
}

func TestReadKeysAndReservation(t *testing.T) {
	data := AppendKeys(nil, 7, []Key{1, 0xfedcba9876543210})
	wantBytes(t, "keys", data, unhex(t, "00000007 00000010 0000000000000001 fedcba9876543210"))
	for i := range len(data) + 1 {
		g, keys, err := ParseKeys(data[:i])
		if i < 8 && !errors.Is(err, scsi.ErrShort) || i >= 8 && (err != nil || g != 7 || len(keys) != (i-8)/8) {
			t.Fatalf("cut to %d bytes: %d, %v, %v", i, g, keys, err)
		}
	}
	r := &Reservation{Key: 5, Type: ExclusiveAccessRegistrantsOnly}
	data = AppendReservation(nil, 7, r)
	wantBytes(t, "reservation", data, unhex(t, "00000007 00000010 0000000000000005 00000000 00 06 0000"))
	g, back, err := ParseReservation(data)
	if d := cmp.Diff(r, back); err != nil || g != 7 || d != "" {
		t.Errorf("%d, %v, %s", g, err, d)
	}
	for i := range data {
		if _, _, err := ParseReservation(data[:i]); i != 8 && !errors.Is(err, scsi.ErrShort) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	wantBytes(t, "no reservation", AppendReservation(nil, 7, nil), unhex(t, "00000007 00000000"))
}

func TestCapabilities(t *testing.T) {
	c := Capabilities{CRH: true, SIP: true, ATP: true, PTPL: true, Active: true, Allow: 5, Types: Types()}
	wantBytes(t, "all", c.Append(nil), unhex(t, "0008 1d d1 ea01 0000"))
	c = Capabilities{Types: []Type{WriteExclusive}}
	wantBytes(t, "one type", c.Append(nil), unhex(t, "0008 00 80 0200 0000"))
}

func TestTypes(t *testing.T) {
	for _, k := range Types() {
		if !k.Valid() || strings.HasPrefix(k.String(), "type") {
			t.Errorf("%v", k)
		}
		if want := strings.HasPrefix(k.String(), "Exclusive"); k.Exclusive() != want {
			t.Errorf("%v: exclusive %v", k, !want)
		}
		if want := strings.Contains(k.String(), "Registrants"); k.Registrants() != want {
			t.Errorf("%v: registrants %v", k, !want)
		}
		if want := strings.Contains(k.String(), "All"); k.AllRegistrants() != want {
			t.Errorf("%v: all registrants %v", k, !want)
		}
	}
	for _, k := range []Type{0, 2, 4, 9, 15} {
		if k.Valid() {
			t.Errorf("type %d is valid", k)
		}
	}
}

func TestFullStatus(t *testing.T) {
	list := []FullStatus{
		{Key: 1, Holder: true, Type: WriteExclusive, RelativePort: 0x102, Port: port},
		{Key: 2, AllPorts: true, Port: port},
	}
	data := AppendFullStatus(nil, 9, list)
	wantBytes(t, "data", data, unhex(t, `00000009 00000068
		0000000000000001 00000000 01 01 00000000 0102 0000001c`+portHex+`
		0000000000000002 00000000 02 00 00000000 0000 0000001c`+portHex))
	for i := range len(data) + 1 {
		g, got, err := ParseFullStatus(data[:i])
		if i < 8 {
			if !errors.Is(err, scsi.ErrShort) {
				t.Fatalf("cut to %d bytes: %v", i, err)
			}
			continue
		}
		if d := cmp.Diff(list[:(i-8)/52], append([]FullStatus{}, got...)); err != nil || g != 9 || d != "" {
			t.Fatalf("cut to %d bytes: %v %s", i, err, d)
		}
	}
}

func TestOut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		action scsi.ServiceAction
		out    Out
		list   string
	}{
		{"register", Register, Out{Key: 1, ActionKey: 2, APTPL: true, AllPorts: true}, "0000000000000001 0000000000000002 00000000 05 000000"},
		{"specified ports", Register, Out{ActionKey: 2, Ports: []TransportID{port, port}}, "0000000000000000 0000000000000002 00000000 08 000000 00000038" + portHex + portHex},
		{"no port at all", Register, Out{Ports: []TransportID{}}, "0000000000000000 0000000000000000 00000000 08 000000 00000000"},
		{"move", RegisterAndMove, Out{Key: 1, ActionKey: 2, APTPL: true, Unregister: true, RelativePort: 0x304, To: port}, "0000000000000001 0000000000000002 00 03 0304 0000001c" + portHex},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := unhex(t, tt.list)
			got, cc := ParseOut(list, tt.action)
			if cc != nil {
				t.Fatal(cc)
			}
			if d := cmp.Diff(&tt.out, got); d != "" {
				t.Error(d)
			}
			wantBytes(t, "list", tt.out.Append(nil, tt.action), list)
			for i := range list {
				if _, cc := ParseOut(list[:i], tt.action); cc == nil || cc.Sense.ASC != scsi.ASCParameterListLength {
					t.Fatalf("cut to %d bytes: %v", i, cc)
				}
			}
			if _, cc := ParseOut(append(list, 0), tt.action); cc == nil || cc.Sense.ASC != scsi.ASCParameterListLength {
				t.Errorf("one byte too many: %v", cc)
			}
		})
	}
	withPort := Out{Ports: []TransportID{port}}
	list := withPort.Append(nil, Register)
	for _, action := range []scsi.ServiceAction{Reserve, Release, Clear, Preempt, PreemptAndAbort, RegisterAndIgnore} {
		if _, cc := ParseOut(list, action); cc == nil || cc.Sense.ASC != scsi.ASCInvalidFieldInParameterList || cc.Sense.Field != 20 {
			t.Errorf("SPEC_I_PT with service action %d: got %v", action, cc)
		}
	}
	list[28] = 0x40 // a TransportID of another protocol
	if _, cc := ParseOut(list, Register); cc == nil || cc.Sense.Field != 28 {
		t.Errorf("a TransportID of another protocol: got %v", cc)
	}
}

func FuzzParseOut(f *testing.F) {
	f.Add((&Out{ActionKey: 2, Ports: []TransportID{port, device}}).Append(nil, Register), byte(Register))
	f.Add((&Out{Key: 1, To: port}).Append(nil, RegisterAndMove), byte(RegisterAndMove))
	f.Add((&Out{Key: 1}).Append(nil, Preempt), byte(Preempt))
	f.Fuzz(func(t *testing.T, in []byte, action byte) {
		a := scsi.ServiceAction(action & 0x1f)
		o, cc := ParseOut(in, a)
		if cc != nil {
			return
		}
		again, cc := ParseOut(o.Append(nil, a), a)
		if d := cmp.Diff(o, again); cc != nil || d != "" {
			t.Fatalf("%v %s", cc, d)
		}
	})
}

func FuzzParseIn(f *testing.F) {
	f.Add(AppendFullStatus(nil, 1, []FullStatus{{Key: 1, Port: port}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		_, _, _ = ParseKeys(in)
		_, _, _ = ParseReservation(in)
		g, list, err := ParseFullStatus(in)
		if err != nil {
			return
		}
		_, again, err := ParseFullStatus(AppendFullStatus(nil, g, list))
		if d := cmp.Diff(list, again); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}
