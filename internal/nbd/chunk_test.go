package nbd

import "testing"

func TestChunk(t *testing.T) {
	const wire = `668e33ef 0001 0001 1112131415161718 00000208`
	vector(t, wire, Chunk{Flags: ChunkDone, Type: ChunkOffsetData, Cookie: 0x1112131415161718, Length: 520}, ParseChunk)
	truncated(t, wire, ParseChunk)
	vector(t, `668e33ef 0000 8002 1112131415161718 0000000e`, Chunk{Type: ChunkErrorOffset, Cookie: 0x1112131415161718, Length: 14}, ParseChunk)
	for _, bad := range []string{
		`668e33ee 0001 0001 0000000000000000 00000208`, // magic
		`668e33ef 0000 0000 0000000000000000 00000000`, // NONE without DONE
		`668e33ef 0001 0000 0000000000000000 00000001`,
		`668e33ef 0001 0001 0000000000000000 00000008`,
		`668e33ef 0001 0002 0000000000000000 0000000b`,
		`668e33ef 0001 0005 0000000000000000 00000004`,
		`668e33ef 0001 0005 0000000000000000 0000000d`,
		`668e33ef 0001 8001 0000000000000000 00000005`,
		`668e33ef 0001 8002 0000000000000000 0000000d`,
	} {
		refused(t, bad, ParseChunk)
	}
}

func TestChunkTypes(t *testing.T) {
	if ChunkNone.IsError() || !ChunkError.IsError() || ChunkErrorOffset.String() != "ERROR_OFFSET" || ChunkType(9).String() != "chunk 9" {
		t.Error("types are wrong")
	}
}
