package nbd

import "testing"

func TestInfoRequest(t *testing.T) {
	const wire = `00000002 'db' 0002 0001 0003`
	want := InfoRequest{Export: "db", Infos: []InfoType{InfoName, InfoBlockSize}}
	vector(t, wire, want, ParseInfoRequest)
	truncated(t, wire, ParseInfoRequest)
	vector(t, `00000000 0000`, InfoRequest{}, ParseInfoRequest)
	if !want.Wants(InfoBlockSize) || want.Wants(InfoDescription) {
		t.Error("Wants is wrong")
	}
}

func TestInfo(t *testing.T) {
	const export, block = `0000 0000000040000000 0803`, `0003 00000200 00001000 02000000`
	vector(t, export, Info{Type: InfoExport, Size: 1 << 30, Flags: FlagHasFlags | FlagReadOnly | FlagSendFastZero}, ParseInfo)
	truncated(t, export, ParseInfo)
	vector(t, block, Info{Type: InfoBlockSize, MinBlock: 512, Preferred: 4096, MaxPayload: 32 << 20}, ParseInfo)
	truncated(t, block, ParseInfo)
	vector(t, `0001 'db'`, Info{Type: InfoName, Text: "db"}, ParseInfo)
	vector(t, `0002 'a disk'`, Info{Type: InfoDescription, Text: "a disk"}, ParseInfo)
	refused(t, `0002 ff`, ParseInfo)
	if i, err := ParseInfo(unhex(t, `1234 5678`)); err != nil || i.Type != 0x1234 {
		t.Errorf("unknown information: %+v, %v", i, err)
	}
}
