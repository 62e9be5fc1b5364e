package nbd

import "testing"

func TestBlockStatus(t *testing.T) {
	const wire = `00000001 00001000 00000000 00010000 00000003`
	want := BlockStatus{Context: 1, Extents: []Extent{{Length: 4096}, {Length: 64 << 10, Flags: StateHole | StateZero}}}
	vector(t, wire, want, ParseBlockStatus)
	if want.Len() != len(unhex(t, wire)) {
		t.Errorf("Len is %d", want.Len())
	}
	refused(t, `00000001`, ParseBlockStatus)
	refused(t, `00000001 00001000`, ParseBlockStatus)
	refused(t, `00000001 00000000 00000000`, ParseBlockStatus)
}
