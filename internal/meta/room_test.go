package meta

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"sango/internal/san"
)

// On a full disk the store refuses changes before etcd would meet the end of
// the disk, which it answers by ending the process; what leads to free space
// is still taken, and so is everything once there is room.
func TestFullDiskRefusesChanges(t *testing.T) {
	s := fresh(t)
	v := volume(t, s, "a")
	free := int64(0)
	s.room.free = func() (int64, error) { return free, nil }
	u := s.Unit(v.ID)
	var err error
	n := 0
	for ; err == nil && n < 1<<20; n++ {
		err = u.Save("modes", make([]byte, 4096))
	}
	if !errors.Is(err, san.ErrUnavailable) || n < 16 {
		t.Fatalf("change %d on a full disk: %v", n, err)
	}
	err = s.Update(t.Context(), func(tx *Tx) error { return tx.CreateHost(&san.Host{Name: "h", IQN: "iqn.2026-11.com.example:h"}) })
	if err != nil && !errors.Is(err, san.ErrUnavailable) {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return tx.DeleteVolume(v.ID) })
	free = 1 << 40
	v = volume(t, s, "b")
	if err := s.Unit(v.ID).Save("modes", make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
}

// The database has blocks behind its end, for the time when the disk is full.
func TestDatabaseHasRoomAhead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{NoSync: true})
	defer s.Close()
	volume(t, s, "a")
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(dir, "etcd", "member", "snap", "db"), &st); err != nil {
		t.Fatal(err)
	}
	if got := st.Blocks * 512; got < st.Size+roomAhead/2 {
		t.Errorf("%d bytes are allocated for %d", got, st.Size)
	}
}
