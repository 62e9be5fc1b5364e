package nbd

import (
	"strings"
	"testing"
)

func TestExportNameReply(t *testing.T) {
	parse := func(zeroes bool) func([]byte) (ExportNameReply, error) {
		return func(b []byte) (ExportNameReply, error) { return ParseExportNameReply(b, zeroes) }
	}
	const wire = `0000000040000000 0025`
	want := ExportNameReply{Size: 1 << 30, Flags: FlagHasFlags | FlagSendFlush | FlagSendTrim}
	vector(t, wire, want, parse(false))
	truncated(t, wire, parse(false))
	want.Zeroes = true
	vector(t, wire+strings.Repeat("00", 124), want, parse(true))
	refused(t, wire, parse(true))
}
