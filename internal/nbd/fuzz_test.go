package nbd

import (
	"bytes"
	"testing"
)

// canonical fails when a message that was read does not write as what it was
// read from.
func canonical[T message](t *testing.T, b []byte, parse func([]byte) (T, error)) {
	t.Helper()
	m, err := parse(b)
	if err == nil && !bytes.Equal(m.Append(nil), b) {
		t.Fatalf("%x was read as %+v, which writes as %x", b, m, m.Append(nil))
	}
}

func FuzzMessages(f *testing.F) {
	for _, m := range []message{
		Greeting{Flags: FixedNewstyle},
		ClientNoZeroes,
		OptionHeader{Option: OptGo, Length: 6},
		OptionReply{Option: OptGo, Type: RepInfo, Length: 12},
		ListEntry{Name: "db", Description: "a disk"},
		ExportNameReply{Size: 512, Flags: FlagHasFlags},
		InfoRequest{Export: "db", Infos: []InfoType{InfoBlockSize}},
		Info{Type: InfoExport, Size: 512},
		Info{Type: InfoBlockSize, MinBlock: 512},
		Info{Type: InfoName, Text: "db"},
		MetaQuery{Export: "db", Queries: []string{BaseAllocation}},
		MetaContext{ID: 1, Name: BaseAllocation},
		Request{Cmd: CmdWrite, Length: 512},
		SimpleReply{Err: EIO},
		Chunk{Type: ChunkNone, Flags: ChunkDone},
		Hole{Offset: 512, Length: 512},
		ErrorPayload{Err: EIO, Text: "x"},
		BlockStatus{Context: 1, Extents: []Extent{{Length: 512}}},
	} {
		f.Add(m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		canonical(t, b, ParseGreeting)
		canonical(t, b, ParseClientFlags)
		canonical(t, b, ParseOptionHeader)
		canonical(t, b, ParseOptionReply)
		canonical(t, b, ParseListEntry)
		canonical(t, b, func(b []byte) (ExportNameReply, error) { return ParseExportNameReply(b, false) })
		canonical(t, b, ParseInfoRequest)
		canonical(t, b, ParseMetaQuery)
		canonical(t, b, ParseMetaContext)
		canonical(t, b, ParseRequest)
		canonical(t, b, ParseSimpleReply)
		canonical(t, b, ParseChunk)
		canonical(t, b, ParseHole)
		canonical(t, b, ParseBlockStatus)
		canonical(t, b, func(b []byte) (ErrorPayload, error) { return ParseErrorPayload(b, ChunkError) })
		canonical(t, b, func(b []byte) (ErrorPayload, error) { return ParseErrorPayload(b, ChunkErrorOffset) })
		if i, err := ParseInfo(b); err == nil && i.Type <= InfoBlockSize && !bytes.Equal(i.Append(nil), b) {
			t.Fatalf("%x was read as %+v", b, i)
		}
	})
}
