package nbd

import "testing"

func TestOptionHeader(t *testing.T) {
	const wire = `'IHAVEOPT' 00000007 00000010`
	vector(t, wire, OptionHeader{Option: OptGo, Length: 16}, ParseOptionHeader)
	truncated(t, wire, ParseOptionHeader)
	refused(t, `'IHAVEOPS' 00000007 00000010`, ParseOptionHeader)
}

func TestOptionNames(t *testing.T) {
	if OptGo.String() != "GO" || Option(99).String() != "option 99" {
		t.Error(OptGo, Option(99))
	}
}
