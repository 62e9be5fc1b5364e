package meta

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/pause"
	"sango/internal/san"
)

// maxTxnOps bounds the guards and the changes of one transaction.
const maxTxnOps = 4096

// maxTries is how often Update runs its function before it gives up: each
// failure means that somebody else made progress.
const maxTries = 256

// Tx is one attempt to change the store. All its reads see the same revision;
// its changes become visible together, or not at all. It is for one goroutine,
// inside Update only.
type Tx struct {
	ctx    context.Context
	s      *Store
	rev    int64            // of the first read; 0 before it
	reads  map[string]int64 // key → mod revision that was seen, 0: absent
	ranges map[string]bool  // prefixes that were listed
	writes map[string][]byte
	order  []string // keys of writes, in order
	frees  bool     // what it changes leads to free space
	made   int64    // the revision of its commit
}

// Update runs fn and commits what it changed, guarded by everything it read:
// if one of those keys has changed in the meantime, fn runs again on the new
// state, so fn must have no other effects. An error of fn is returned as it
// is, and nothing is changed. An ErrUnknown means that the commit may or may
// not have happened.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	_, err := s.UpdateAt(ctx, fn)
	return err
}

// UpdateAt is Update, and returns the revision in which the change was made, 0 if
// nothing was changed.
func (s *Store) UpdateAt(ctx context.Context, fn func(*Tx) error) (revision int64, err error) {
	for range maxTries {
		tx := &Tx{ctx: ctx, s: s, reads: map[string]int64{}, ranges: map[string]bool{}, writes: map[string][]byte{}}
		if err := fn(tx); err != nil {
			return 0, err
		}
		done, err := tx.commit()
		if done || err != nil {
			return tx.made, err
		}
	}
	return 0, san.Errorf(san.ErrUnavailable, "the metadata store is too busy: %d attempts met a change by somebody else; try again", maxTries)
}

// Ensure is Update for a change that leads to the same state however often it
// is made: where the outcome of an attempt is unknown, fn runs again and finds
// out. An attempt that is under way still meets the guards.
func (s *Store) Ensure(ctx context.Context, fn func(*Tx) error) error {
	for {
		err := s.Update(ctx, fn)
		if !errors.Is(err, san.ErrUnknown) || !pause.For(ctx, getAgain) {
			return err
		}
	}
}

func (tx *Tx) commit() (bool, error) {
	if len(tx.order) == 0 {
		return true, nil // reads of one revision need no guard
	}
	var guards []clientv3.Cmp
	for k, rev := range tx.reads {
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(k), "=", rev))
	}
	for p := range tx.ranges {
		// Nothing below p was made or changed since it was listed. A key that was
		// deleted is caught by its own guard above.
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(p), "<", tx.rev+1).WithPrefix())
	}
	ops := make([]clientv3.Op, 0, len(tx.order))
	for _, k := range tx.order {
		if v := tx.writes[k]; v != nil {
			ops = append(ops, clientv3.OpPut(k, string(v)))
		} else {
			ops = append(ops, clientv3.OpDelete(k))
		}
	}
	held := tx.s.fence.Load()
	if held != nil {
		guards = append(guards, held.guard())
	}
	if len(guards) > maxTxnOps || len(ops) > maxTxnOps {
		return false, san.Errorf(san.ErrRefused, "the change touches %d keys, more than %d; split it", max(len(guards), len(ops)), maxTxnOps)
	}
	var size int64
	for k, v := range tx.writes {
		size += changeSize(k, v)
	}
	if err := tx.s.room.take(size, tx.frees); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(tx.ctx, opTimeout)
	defer cancel()
	resp, err := tx.s.kv.Txn(ctx).If(guards...).Then(ops...).Else(held.look()...).Commit()
	if err != nil {
		return false, commitErr(err)
	}
	if !resp.Succeeded {
		return false, held.lost(resp)
	}
	tx.made = resp.Header.Revision
	return true, nil
}

// changeSize is about what a change of key to v takes in the store, in bytes.
func changeSize(key string, v []byte) int64 { return int64(2*len(key) + len(v) + 128) }

// get reads a key into v and reports whether it is there. It sees the
// transaction's own writes.
func (tx *Tx) get(key string, v any) (bool, error) {
	b, _, err := tx.fetch(prefix + key)
	if b == nil || err != nil {
		return false, err
	}
	return true, decode(key, b, v)
}

// fetch reads a key with everything before it: its value, nil if it is not
// there, and the revision that made it, 0 if the transaction itself does.
func (tx *Tx) fetch(key string) (value []byte, made int64, err error) {
	if b, ok := tx.writes[key]; ok {
		return b, 0, nil
	}
	var opts []clientv3.OpOption
	if tx.rev != 0 {
		opts = append(opts, clientv3.WithRev(tx.rev))
	}
	resp, err := tx.s.read(tx.ctx, key, opts...)
	if err != nil {
		return nil, 0, err
	}
	if tx.rev == 0 {
		tx.rev = resp.Header.Revision
	}
	if len(resp.Kvs) == 0 {
		tx.reads[key] = 0
		return nil, 0, nil
	}
	tx.reads[key] = resp.Kvs[0].ModRevision
	return resp.Kvs[0].Value, resp.Kvs[0].CreateRevision, nil
}

// has reports whether a key is there.
func (tx *Tx) has(key string) (bool, error) {
	var raw json.RawMessage
	return tx.get(key, &raw)
}

// list calls f for every key below under, without under, in order. It does
// not see the transaction's own writes.
func (tx *Tx) list(under string, f func(rest string, value []byte) error) error {
	return tx.each(prefix+under, func(rest string, kv *mvccpb.KeyValue) error { return f(rest, kv.Value) })
}

// each is list with everything that etcd tells of a key, and everything before
// the key.
func (tx *Tx) each(p string, f func(rest string, kv *mvccpb.KeyValue) error) error {
	opts := []clientv3.OpOption{clientv3.WithPrefix()}
	if tx.rev != 0 {
		opts = append(opts, clientv3.WithRev(tx.rev))
	}
	resp, err := tx.s.read(tx.ctx, p, opts...)
	if err != nil {
		return err
	}
	if tx.rev == 0 {
		tx.rev = resp.Header.Revision
	}
	tx.ranges[p] = true
	for _, kv := range resp.Kvs {
		if err := f(strings.TrimPrefix(string(kv.Key), p), kv); err != nil {
			return err
		}
	}
	return nil
}

// put sets a key to v.
func (tx *Tx) put(key string, v any) error { return tx.store(prefix+key, v) }

// store is put with everything before the key.
func (tx *Tx) store(key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("metadata %s: %w", key, err)
	}
	tx.write(key, b)
	return nil
}

// del removes a key, there or not.
func (tx *Tx) del(key string) { tx.write(prefix+key, nil) }

func (tx *Tx) write(key string, b []byte) {
	if _, ok := tx.writes[key]; !ok {
		tx.order = append(tx.order, key)
	}
	tx.writes[key] = b
}

// decode reads JSON strictly: a field that this program does not know belongs
// to a newer one, and dropping it at the next write would lose it.
func decode(key string, b []byte, v any) error {
	if err := strict(b, v); err != nil {
		return fmt.Errorf("metadata %s can't be read: %w; it was written by another version of sango, or is damaged", key, err)
	}
	return nil
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
