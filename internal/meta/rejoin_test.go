package meta

import (
	"errors"
	"os"
	"strings"
	"testing"

	"sango/internal/san"
)

// A member that has lost its directory is told to be taken out and added again,
// before etcd ends the process; then it joins.
func TestJoinAfterLoss(t *testing.T) {
	t.Parallel()
	addrs := freeAddrs(t, 3)
	first := &running{dir: t.TempDir(), opts: Options{NoSync: true, Member: &Member{Name: "m0", Peer: addrs[0]}}}
	first.start(t)
	defer first.stop()
	join := func(i int, name string) *running {
		t.Helper()
		members, err := first.AddMember(t.Context(), name, addrs[i])
		if err != nil {
			t.Fatal(err)
		}
		r := &running{dir: t.TempDir(), opts: Options{NoSync: true, Log: quiet(t), Member: &Member{Name: name, Peer: addrs[i], Join: true, Members: members}}}
		r.start(t)
		return r
	}
	second := join(1, "m1")
	defer second.stop()
	third := join(2, "m2")
	update(t, first.Store, func(tx *Tx) error { return tx.put("test", 1) })
	third.stop()
	if err := os.RemoveAll(third.dir); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), third.dir, third.opts); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "'sango cluster remove m2'") {
		t.Errorf("a member without its metadata: %v", err)
		if err == nil {
			s.Close()
		}
	}
	if err := first.RemoveMember(t.Context(), "m2"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.AddMember(t.Context(), "m2", addrs[2]); err != nil {
		t.Fatal(err)
	}
	third.start(t)
	defer third.stop()
	var n int
	update(t, third.Store, func(tx *Tx) error { _, err := tx.get("test", &n); return err })
	if n != 1 {
		t.Errorf("it reads %d", n)
	}
}
