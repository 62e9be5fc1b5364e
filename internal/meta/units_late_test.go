package meta

import (
	"context"
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// lateKV loses the answer of its next transaction, which is made by land.
type lateKV struct {
	clientv3.KV
	late bool
	land func()
}

type lateTxn struct {
	clientv3.Txn
	k *lateKV
}

func (k *lateKV) Txn(ctx context.Context) clientv3.Txn {
	if !k.late {
		return k.KV.Txn(ctx)
	}
	k.late = false
	return &lateTxn{k.KV.Txn(context.Background()), k}
}

func (t *lateTxn) If(c ...clientv3.Cmp) clientv3.Txn  { t.Txn = t.Txn.If(c...); return t }
func (t *lateTxn) Then(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(o...); return t }
func (t *lateTxn) Else(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(o...); return t }
func (t *lateTxn) Commit() (*clientv3.TxnResponse, error) {
	t.k.land = func() { _, _ = t.Txn.Commit() }
	return nil, context.DeadlineExceeded
}

// What was saved with an unknown outcome, and then forgotten for good, does not
// appear later, whatever else was saved in between.
func TestTakenBackStaysAway(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	v := &san.Volume{ID: san.NewUUID(), Name: "a", Size: 1 << 20, Driver: san.DriverLayered, BlockSize: 512, PhysicalBlock: 4096}
	if err := s.Update(t.Context(), func(tx *Tx) error {
		if err := tx.Begin(v.ID, v.Name); err != nil {
			return err
		}
		return tx.CreateVolume(v)
	}); err != nil {
		t.Fatal(err)
	}
	k := &lateKV{KV: s.kv}
	s.kv = k
	for _, between := range [][]byte{nil, []byte("other")} {
		u := s.Unit(v.ID)
		if b, err := u.Load("sanitize"); err != nil || b != nil {
			t.Fatalf("at first: %q, %v", b, err)
		}
		k.late = true
		if err := u.Save("sanitize", []byte("note")); !errors.Is(err, san.ErrUnknown) {
			t.Fatalf("%v, want an unknown outcome", err)
		}
		if between != nil {
			if err := u.Save("sanitize", between); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := u.Save("sanitize", nil); err != nil {
				t.Fatal(err)
			}
		}
		k.land() // it was on its way still
		if b, err := s.Unit(v.ID).Load("sanitize"); err != nil || b != nil {
			t.Errorf("%q, %v", b, err)
		}
		// Who comes next has no doubt, and leaves nothing behind.
		u = s.Unit(v.ID)
		if err := u.Save("sanitize", []byte("next")); err != nil {
			t.Fatal(err)
		}
		if err := u.Save("sanitize", nil); err != nil {
			t.Fatal(err)
		}
	}
}

// One that was made after all, after it was read again, is told.
func TestLateChangeIsTold(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	v := &san.Volume{ID: san.NewUUID(), Name: "a", Size: 1 << 20, Driver: san.DriverLayered, BlockSize: 512, PhysicalBlock: 4096}
	if err := s.Update(t.Context(), func(tx *Tx) error {
		if err := tx.Begin(v.ID, v.Name); err != nil {
			return err
		}
		return tx.CreateVolume(v)
	}); err != nil {
		t.Fatal(err)
	}
	k := &lateKV{KV: s.kv, late: true}
	s.kv = k
	u := s.Unit(v.ID)
	if err := u.Save("sanitize", []byte("note")); !errors.Is(err, san.ErrUnknown) {
		t.Fatalf("%v, want an unknown outcome", err)
	}
	if _, err := u.Load("sanitize"); err != nil {
		t.Fatal(err)
	}
	k.land()
	if err := u.Save("sanitize", nil); !errors.Is(err, san.ErrRefused) {
		t.Fatalf("%v, want refused", err)
	}
	if b, err := u.Load("sanitize"); err != nil || string(b) != "note" {
		t.Fatalf("%q, %v", b, err)
	}
	if err := u.Save("sanitize", nil); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Unit(v.ID).Load("sanitize"); err != nil || b != nil {
		t.Errorf("%q, %v", b, err)
	}
}
