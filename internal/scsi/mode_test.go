package scsi

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestModeData(t *testing.T) {
	pages := []ModePage{
		{Page: ModeCaching, Saved: true, Params: Caching{WCE: true, DRA: true}.Params()},
		{Page: ModeControl, Subpage: ControlExtension, Params: ControlExt{MaxSense: 64}.Params()},
	}
	const wantPages = `88 12 04 00 0000 0000 0000 0000 20 00 0000 00 000000
		4a 01 001c 00 00 40 00000000000000000000000000000000000000000000000000`
	h := ModeHeader{WriteProtect: true, DPOFUA: true, Descriptors: []BlockDescriptor{{1 << 40, 512}}}
	got, ok := AppendModeData(nil, &h, pages)
	wantBytes(t, "short", got, unhex(t, "3f 00 90 08 ffffffff 00000200"+wantPages))
	if !ok {
		t.Error("short: does not fit")
	}
	h.Long = true
	got, ok = AppendModeData(nil, &h, pages)
	wantBytes(t, "long", got, unhex(t, "0042 00 90 00 00 0008 ffffffff 00000200"+wantPages))
	if !ok {
		t.Error("long: does not fit")
	}
	h.LongLBA = true
	got, _ = AppendModeData(nil, &h, pages)
	wantBytes(t, "long LBA", got, unhex(t, "004a 00 90 01 00 0010 0000010000000000 00000000 00000200"+wantPages))

	if _, ok := AppendModeData(nil, &ModeHeader{}, make([]ModePage, 200)); ok {
		t.Error("400 bytes fit a header whose length is one byte")
	}
}

func TestModeListRoundTrip(t *testing.T) {
	pages := []ModePage{
		{Page: ModeCaching, Params: Caching{WCE: true}.Params()},
		{Page: ModeControl, Params: Control{DSense: true, SWP: true, BusyTimeout: 0xffff}.Params()},
		{Page: ModeControl, Subpage: ControlExtension, Params: ControlExt{IALUAE: true}.Params()},
	}
	for _, h := range []ModeHeader{
		{},
		{Descriptors: []BlockDescriptor{{100, 512}}},
		{Long: true, Descriptors: []BlockDescriptor{{100, 4096}}},
		{Long: true, LongLBA: true, Descriptors: []BlockDescriptor{{1 << 33, 4096}}},
	} {
		data, _ := AppendModeData(nil, &h, pages)
		l, cc := ParseModeList(data, h.Long)
		if cc != nil {
			t.Fatal(cc)
		}
		if d := cmp.Diff(h, l.Header); d != "" {
			t.Error(d)
		}
		var back []ModePage
		for _, p := range l.Pages {
			back = append(back, p.ModePage)
			if data[p.At]&0x3f != p.Page {
				t.Errorf("page %02xh is not at %d", p.Page, p.At)
			}
		}
		if d := cmp.Diff(pages, back); d != "" {
			t.Error(d)
		}
	}
}

func TestModeListCutShort(t *testing.T) {
	full := map[int]bool{0: true}
	data, _ := AppendModeData(nil, &ModeHeader{Long: true, Descriptors: []BlockDescriptor{{100, 512}}}, nil)
	full[8], full[len(data)] = false, true
	for _, p := range []ModePage{
		{Page: ModeCaching, Params: Caching{}.Params()},
		{Page: ModeControl, Subpage: ControlExtension, Params: ControlExt{}.Params()},
	} {
		data = p.Append(data)
		full[len(data)] = true
	}
	for i := range len(data) + 1 {
		_, cc := ParseModeList(data[:i], true)
		switch {
		case full[i] && cc != nil:
			t.Errorf("%d bytes end at a page but are refused: %v", i, cc)
		case !full[i] && (cc == nil || cc.Sense.ASC != ASCParameterListLength):
			t.Errorf("%d bytes end inside something: got %v, want PARAMETER LIST LENGTH ERROR", i, cc)
		}
	}
}

func TestModeListWrongFields(t *testing.T) {
	for _, tt := range []struct {
		name, list string
		long       bool
		field      uint16
	}{
		{"descriptor length", "00 00 00 07 00000000000000", false, 3},
		{"descriptor length, long", "0000 00 00 00 00 0009 000000000000000000", true, 7},
		{"descriptor length, long LBA", "0000 00 00 01 00 0008 0000000000000000", true, 7},
		{"sub_page format for page_0", "00 00 00 00 4a 00 0000", false, 5},
		{"all subpages", "00 00 00 00 4a ff 0000", false, 5},
	} {
		_, cc := ParseModeList(unhex(t, tt.list), tt.long)
		if cc == nil || cc.Sense.ASC != ASCInvalidFieldInParameterList || cc.Sense.FieldCDB || cc.Sense.Field != tt.field {
			t.Errorf("%s: got %+v, want a field pointer to %d", tt.name, cc, tt.field)
		}
	}
}

func TestModeDef(t *testing.T) {
	d := ModeDef{Page: ModeControl, Default: Control{TAS: true}.Params(), Changeable: Control{DSense: true, SWP: true}.Params()}
	selected := func(c Control) *SelectedPage {
		return &SelectedPage{ModePage: ModePage{Page: ModeControl, Params: c.Params()}, At: 4}
	}
	if cc := d.Check(d.Default, selected(Control{TAS: true, DSense: true})); cc != nil {
		t.Error(cc)
	}
	cc := d.Check(d.Default, selected(Control{DSense: true}))
	if cc == nil || cc.Sense.Field != 4+2+3 || cc.Sense.Bit != 6 {
		t.Errorf("TAS changed: got %+v, want a pointer to byte 9 bit 6", cc)
	}
	wrong := selected(Control{})
	wrong.Params = wrong.Params[:9]
	if cc := d.Check(d.Default, wrong); cc == nil || cc.Sense.Field != 5 {
		t.Errorf("page length: got %+v, want a pointer to byte 5", cc)
	}
	got, err := ParseControl(d.Merge(Control{SWP: true, QErr: 1}.Params()))
	if want := (Control{TAS: true, SWP: true}); err != nil || got != want {
		t.Errorf("merged: got %+v, want %+v", got, want)
	}
	wantBytes(t, "merged from nothing", d.Merge(nil), d.Default)
}

func TestModePageParams(t *testing.T) {
	c := Control{
		TST: 1, TMFOnly: true, DPICZ: true, DSense: true, GLTSD: true, RLEC: true, QueueModifier: 1, QErr: 3, RAC: true,
		UAInterlock: 2, SWP: true, ATO: true, TAS: true, BusyTimeout: 0x102, SelfTest: 0x304,
	}
	wantBytes(t, "control", c.Params(), unhex(t, "3f 16 68 c0 0000 0102 0304"))
	if back, err := ParseControl(c.Params()); err != nil || back != c {
		t.Errorf("got %+v, %v", back, err)
	}
	e := InfoExceptions{Perf: true, EBF: true, EWASC: true, DExcpt: true, Test: true, EBackErr: true, LogErr: true, MRIE: 6, Interval: 1, ReportCount: 2}
	wantBytes(t, "informational exceptions", e.Params(), unhex(t, "bf 06 00000001 00000002"))
	if back, err := ParseInfoExceptions(e.Params()); err != nil || back != e {
		t.Errorf("got %+v, %v", back, err)
	}
	ca := Caching{WCE: true, RCD: true, DRA: true}
	if back, err := ParseCaching(ca.Params()); err != nil || back != ca {
		t.Errorf("got %+v, %v", back, err)
	}
	wantBytes(t, "error recovery", ErrorRecovery{AWRE: true, ARRE: true, ReadRetries: 3, WriteRetries: 4, TimeLimit: 0x102}.Params(),
		unhex(t, "c0 03 00 00 00 00 04 00 0102"))
	for i := range controlLen {
		if _, err := ParseControl(c.Params()[:i]); err == nil {
			t.Errorf("control page cut to %d", i)
		}
		if _, err := ParseInfoExceptions(e.Params()[:i]); err == nil {
			t.Errorf("informational exceptions page cut to %d", i)
		}
	}
	if _, err := ParseCaching(nil); err == nil {
		t.Error("empty caching page")
	}
}

func FuzzParseModeList(f *testing.F) {
	data, _ := AppendModeData(nil, &ModeHeader{Long: true, LongLBA: true, Descriptors: []BlockDescriptor{{1, 512}}},
		[]ModePage{{Page: ModeCaching, Params: Caching{}.Params()}, {Page: ModeControl, Subpage: 1, Params: ControlExt{}.Params()}})
	f.Add(data, true)
	data, _ = AppendModeData(nil, &ModeHeader{}, []ModePage{{Page: ModeControl, Params: Control{}.Params()}})
	f.Add(data, false)
	f.Fuzz(func(t *testing.T, in []byte, long bool) {
		l, cc := ParseModeList(in, long)
		if cc != nil || len(in) == 0 {
			return
		}
		var pages []ModePage
		for _, p := range l.Pages {
			pages = append(pages, p.ModePage)
		}
		out, _ := AppendModeData(nil, &l.Header, pages)
		if len(out) != len(in) {
			t.Fatalf("%d bytes parsed became %d bytes", len(in), len(out))
		}
	})
}
