package nbd

import "testing"

func TestOffset(t *testing.T) {
	off, err := ParseOffset(AppendOffset(nil, 1<<40))
	if err != nil || off != 1<<40 {
		t.Error(off, err)
	}
	truncated(t, `0000010000000000`, ParseOffset)
}

func TestHole(t *testing.T) {
	const wire = `0000010000000000 00010000`
	vector(t, wire, Hole{Offset: 1 << 40, Length: 64 << 10}, ParseHole)
	truncated(t, wire, ParseHole)
	refused(t, `0000010000000000 00000000`, ParseHole)
}

func TestErrorPayload(t *testing.T) {
	parse := func(ct ChunkType) func([]byte) (ErrorPayload, error) {
		return func(b []byte) (ErrorPayload, error) { return ParseErrorPayload(b, ct) }
	}
	const plain, offset = `00000016 0002 'no'`, `00000005 0002 'no' 0000000000000200`
	vector(t, plain, ErrorPayload{Err: EINVAL, Text: "no"}, parse(ChunkError))
	truncated(t, plain, parse(ChunkError))
	vector(t, offset, ErrorPayload{Err: EIO, Text: "no", HasOffset: true, Offset: 512}, parse(ChunkErrorOffset))
	truncated(t, offset, parse(ChunkErrorOffset))
	refused(t, `00000000 0000`, parse(ChunkError))
	refused(t, `00000001 0001 ff`, parse(ChunkError))
}
