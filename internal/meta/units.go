package meta

import (
	"context"
	"errors"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// UnitState keeps what one logical unit must remember across restarts: its
// reservations, saved mode pages and a sanitize operation (it is the
// lun.UnitStore of a volume). Each change is guarded by the value that was
// last loaded or saved through the same UnitState, and by the volume's
// existence: one that does not know the latest value changes nothing.
type UnitState struct {
	s  *Store
	id san.UUID

	mu    sync.Mutex       // guards what follows, and makes changes one at a time
	seen  map[string]int64 // name → mod revision, 0: absent
	doubt map[string]bool  // a change had an unknown outcome: it may be made yet
	early bool             // nothing was saved yet, and kept is all there was before
	kept  map[string]keptState
	owner int64 // revision of the owner record that allows changes; 0: none is asked for
}

// Unit returns the state of a volume's unit.
func (s *Store) Unit(id san.UUID) *UnitState {
	return &UnitState{s: s, id: id, seen: map[string]int64{}, doubt: map[string]bool{}}
}

func (u *UnitState) key(name string) string { return prefix + "units/" + u.id.String() + "/" + name }

// Own lets Save change the state only while the volume's owner record is the
// one of this revision (Owner.Revision): that of the epoch under which the
// change was admitted. 0 asks for none.
func (u *UnitState) Own(revision int64) {
	u.mu.Lock()
	u.owner = revision
	u.mu.Unlock()
}

// Load returns what was saved under name, nil if nothing was.
func (u *UnitState) Load(name string) ([]byte, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.load(name)
}

func (u *UnitState) load(name string) ([]byte, error) {
	if k, ok := u.first(name); ok {
		u.seen[name] = k.rev
		return unwrapped(name, k.value)
	}
	resp, err := u.s.read(context.Background(), u.key(name))
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 {
		u.seen[name] = 0
		return nil, nil
	}
	u.seen[name] = resp.Kvs[0].ModRevision
	return unwrapped(name, resp.Kvs[0].Value)
}

// unwrapped returns a value without the epoch that an owner in a cluster puts
// around reservations.
func unwrapped(name string, b []byte) ([]byte, error) {
	if len(b) == 0 { // see Save
		return nil, nil
	}
	if name != stateReservations {
		return b, nil
	}
	r, err := readReserved(b)
	if err != nil {
		return nil, err
	}
	return r.Data, nil
}

// Save keeps b under name, durably and in place of what was there; nil
// forgets it. On ErrUnknown the outcome is open: the change may be there, or be
// made later, until another one has been saved, or a Save of the same has
// succeeded. ErrRefused: somebody else changed the value, or the volume is gone;
// or a change of unknown outcome was made just now, which Load tells.
func (u *UnitState) Save(name string, b []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.seen[name]; !known {
		if _, err := u.load(name); err != nil {
			return err
		}
	}
	u.early, u.kept = false, nil
	op := clientv3.OpPut(u.key(name), string(b))
	if b == nil {
		switch {
		case u.doubt[name]:
			// Reading alone does not settle it: what finds nothing there is made when it
			// comes. So it has to find something, from now on.
		case u.seen[name] == 0:
			return nil
		default:
			op = clientv3.OpDelete(u.key(name))
		}
	}
	if err := u.s.room.take(changeSize(u.key(name), b), false); err != nil {
		return err
	}
	guards := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(u.key(name)), "=", u.seen[name]),
		clientv3.Compare(clientv3.CreateRevision(prefix+"volumes/"+u.id.String()), ">", 0),
	}
	if u.owner != 0 {
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(RecordKey{RecordOwner, u.id.String()}.path()), "=", u.owner))
	}
	held := u.s.fence.Load()
	if held != nil {
		guards = append(guards, held.guard())
	}
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	resp, err := u.s.kv.Txn(ctx).If(guards...).Then(op).Else(held.look()...).Commit()
	if err != nil {
		delete(u.seen, name)
		err = commitErr(err)
		if errors.Is(err, san.ErrUnknown) {
			u.doubt[name] = true
		}
		return err
	}
	if !resp.Succeeded {
		if err := held.lost(resp); err != nil {
			return err
		}
		return san.Errorf(san.ErrRefused, "the %s of volume %s were changed by somebody else, or the volume has another owner or is gone: load them again", name, u.id)
	}
	u.seen[name] = resp.Header.Revision
	if op.IsDelete() {
		u.seen[name] = 0
	}
	return nil
}
