package nbdserver

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sango/internal/block/mem"
	"sango/internal/nbd"
)

func TestListAndInfo(t *testing.T) {
	w := serve(t, Options{})
	w.add("a", memory(t, mem.Options{Size: 1 << 20}), ExportOptions{Description: "the first", Default: true})
	w.add("b", memory(t, mem.Options{Size: 2 << 20, BlockSize: 4096}), ExportOptions{ReadOnly: true})
	c := w.dial()
	var names []nbd.ListEntry
	for _, r := range c.must(nbd.OptList, nil) {
		e, err := nbd.ParseListEntry(r.data)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e)
	}
	if d := cmp.Diff([]nbd.ListEntry{{Name: "a", Description: "the first"}, {Name: "b"}}, names); d != "" {
		t.Error(d)
	}
	ask := nbd.InfoRequest{Infos: []nbd.InfoType{nbd.InfoName, nbd.InfoDescription, 99}}
	var infos []nbd.Info
	for _, r := range c.must(nbd.OptInfo, ask.Append(nil)) {
		i, err := nbd.ParseInfo(r.data)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, i)
	}
	all := nbd.FlagHasFlags | nbd.FlagSendFlush | nbd.FlagSendFUA | nbd.FlagSendTrim | nbd.FlagSendWriteZeroes |
		nbd.FlagCanMultiConn | nbd.FlagSendCache | nbd.FlagSendFastZero
	if d := cmp.Diff([]nbd.Info{
		{Type: nbd.InfoExport, Size: 1 << 20, Flags: all},
		{Type: nbd.InfoBlockSize, MinBlock: 512, Preferred: 4096, MaxPayload: 32 << 20},
		{Type: nbd.InfoName, Text: "a"},
		{Type: nbd.InfoDescription, Text: "the first"},
	}, infos); d != "" {
		t.Error(d)
	}
	c.enter("b")
	if want := nbd.FlagHasFlags | nbd.FlagReadOnly | nbd.FlagSendFlush | nbd.FlagCanMultiConn | nbd.FlagSendCache; c.info.Flags != want || c.block.MinBlock != 4096 {
		t.Errorf("flags %#x, want %#x; blocks of %d", c.info.Flags, want, c.block.MinBlock)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	w := serve(t, Options{})
	w.add("a", memory(t, mem.Options{}), ExportOptions{})
	w.add("4k", memory(t, mem.Options{BlockSize: 4096}), ExportOptions{})
	c := w.dial()
	info := func(name string) []byte { return nbd.InfoRequest{Export: name}.Append(nil) }
	query := func(name string) []byte { return nbd.MetaQuery{Export: name}.Append(nil) }
	c.refused(nbd.OptGo, info("nope"), nbd.RepErrUnknown)
	c.refused(nbd.OptGo, info(""), nbd.RepErrUnknown)
	c.refused(nbd.OptGo, info("4k"), nbd.RepErrBlockSizeReqd)
	c.refused(nbd.OptGo, []byte{1, 2, 3}, nbd.RepErrInvalid)
	c.refused(nbd.OptInfo, info("nope"), nbd.RepErrUnknown)
	c.refused(nbd.OptList, []byte{1}, nbd.RepErrInvalid)
	c.refused(nbd.OptStartTLS, nil, nbd.RepErrPolicy)
	c.refused(nbd.OptStartTLS, []byte{1}, nbd.RepErrInvalid)
	c.refused(nbd.OptExtendedHeaders, nil, nbd.RepErrUnsup)
	c.refused(nbd.OptPeekExport, nil, nbd.RepErrUnsup)
	c.refused(4711, []byte("x"), nbd.RepErrUnsup)
	c.refused(nbd.OptListMetaContext, query("a"), nbd.RepErrInvalid)
	c.must(nbd.OptStructuredReply, nil)
	c.refused(nbd.OptListMetaContext, query("nope"), nbd.RepErrUnknown)
	c.refused(nbd.OptListMetaContext, []byte{0}, nbd.RepErrInvalid)
	c.refused(nbd.OptInfo, make([]byte, maxOptionData+1), nbd.RepErrTooBig)
	c.refused(nbd.OptGo, nbd.InfoRequest{Export: strings.Repeat("x", 5000)}.Append(nil), nbd.RepErrInvalid)
	// After all that the connection works.
	c.enter("a")
}

func TestMetaContexts(t *testing.T) {
	w := serve(t, Options{})
	w.add("a", memory(t, mem.Options{}), ExportOptions{})
	w.add("b", memory(t, mem.Options{}), ExportOptions{})
	c := w.dial()
	c.must(nbd.OptStructuredReply, nil)
	c.structured = true
	found := func(o nbd.Option, queries ...string) int {
		t.Helper()
		return len(c.must(o, nbd.MetaQuery{Export: "a", Queries: queries}.Append(nil)))
	}
	for _, s := range []struct {
		o       nbd.Option
		queries []string
		want    int
	}{
		{nbd.OptListMetaContext, nil, 1},
		{nbd.OptListMetaContext, []string{"base:"}, 1},
		{nbd.OptListMetaContext, []string{"base:allocation", "base:"}, 1},
		{nbd.OptListMetaContext, []string{"qemu:dirty-bitmap:x"}, 0},
		{nbd.OptSetMetaContext, []string{"base:"}, 0},
		{nbd.OptSetMetaContext, nil, 0},
		{nbd.OptSetMetaContext, []string{"x", "base:allocation"}, 1},
	} {
		if got := found(s.o, s.queries...); got != s.want {
			t.Errorf("%s of %q found %d contexts, want %d", s.o, s.queries, got, s.want)
		}
	}
	// Chosen for "a": it does not count for "b".
	c.enter("b")
	c.fails(nbd.EINVAL, nbd.CmdBlockStatus, 0, 0, 512, nil)
}

func TestExportNameOption(t *testing.T) {
	w := serve(t, Options{})
	w.add("a", memory(t, mem.Options{Size: 1 << 20}), ExportOptions{})
	w.add("4k", memory(t, mem.Options{BlockSize: 4096}), ExportOptions{})
	choose := func(name string) *client {
		c := w.dial()
		c.write(append(nbd.OptionHeader{Option: nbd.OptExportName, Length: uint32(len(name))}.Append(nil), name...))
		return c
	}
	c := choose("a")
	r, err := nbd.ParseExportNameReply(c.read(10), false)
	if err != nil || r.Size != 1<<20 {
		t.Fatal(r, err)
	}
	c.ok(nbd.CmdWrite, 0, 0, 512, pattern(512, 1))
	for _, name := range []string{"", "nope", "4k", "\xff", strings.Repeat("a", 4097)} {
		choose(name).hungUp()
	}
}

func TestAbortIsAcknowledged(t *testing.T) {
	c := serve(t, Options{}).dial()
	c.must(nbd.OptAbort, nil)
	c.hungUp()
}

func TestNamesOfExports(t *testing.T) {
	s := New(Options{})
	d := memory(t, mem.Options{})
	for _, bad := range []string{"\xff", "a\x00", strings.Repeat("a", 4097)} {
		if err := s.Add(bad, d, ExportOptions{}); err == nil {
			t.Errorf("export %.10q was added", bad)
		}
	}
	if err := s.Add("a", d, ExportOptions{Description: "\xff"}); err == nil {
		t.Error("a description that is no text")
	}
	for _, name := range []string{"a", "", "ü/ö"} {
		if err := s.Add(name, d, ExportOptions{}); err != nil {
			t.Error(err)
		}
	}
	if s.Add("a", d, ExportOptions{}) == nil || s.Add("c", d, ExportOptions{Default: true}) == nil {
		t.Error("a name, or a default, was taken twice")
	}
	if _, err := s.Export("x"); err == nil {
		t.Error("an export that does not exist was described")
	}
	if n := len(s.Exports()); n != 3 {
		t.Errorf("%d exports", n)
	}
}
