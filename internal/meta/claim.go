package meta

import (
	"context"
	"encoding/json"
	"errors"
	"math"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// Claim says which node serves the volumes of a store, as long as one does so
// alone. It stays when the node stops: the volumes are in its directory.
type Claim struct {
	Node        san.UUID `json:"node"`        // of the directory, made at its first start
	Gateway     string   `json:"gateway"`     // name
	Incarnation uint64   `json:"incarnation"` // of the gateway's process
	Machine     string   `json:"machine"`     // host name, for people
	Dir         string   `json:"dir"`         // for people
}

const claimKey = "claim"

// incarnations is the counter of the processes of gateways.
const incarnations = "incarnation"

// Claim makes the store one that c's node serves, or fails with ErrRefused
// where another does. It draws the incarnation. From then on every change
// through this Store is guarded by the claim: one of a process that another
// has followed fails with ErrRefused.
func (s *Store) Claim(ctx context.Context, c *Claim) error {
	if err := s.Ensure(ctx, func(tx *Tx) error {
		var old Claim
		found, err := tx.get(claimKey, &old)
		if err != nil {
			return err
		}
		if found && old.Node != c.Node {
			return san.Errorf(san.ErrRefused, "the volumes of this metadata are served by gateway %s on machine %s, from its directory %s, which serves alone: give this one metadata of its own; let both serve together with 'cluster' or 'etcd' in their configurations and one directory of volumes; or run 'sango cluster release %s' if that one is gone for good", old.Gateway, old.Machine, old.Dir, old.Gateway)
		}
		if c.Incarnation, err = tx.next(incarnations, math.MaxInt64); err != nil {
			return err
		}
		return tx.put(claimKey, c)
	}); err != nil {
		return err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	s.fence.Store(&fence{key: prefix + claimKey, value: string(b)})
	if s.remember == nil {
		return nil
	}
	return s.remember()
}

// Join makes this Store that of a gateway which serves beside others: changes
// need no claim. One that the gateway's directory has from when it was alone
// ends; ErrRefused where another one serves alone. Changes of volumes that are
// begun from then on carry the gateway's name (Pending).
func (s *Store) Join(ctx context.Context, gateway string, node san.UUID) error {
	if err := s.Ensure(ctx, func(tx *Tx) error {
		old, err := tx.Claimed()
		if old == nil || err != nil {
			return err
		}
		if old.Node != node {
			return san.Errorf(san.ErrRefused, "the volumes of this metadata are served by gateway %s on machine %s, from its directory %s, which does not know of other gateways: start it with this version of sango and with 'cluster' or 'etcd' in its configuration first, or run 'sango cluster release %s' if it is gone for good", old.Gateway, old.Machine, old.Dir, old.Gateway)
		}
		tx.del(claimKey)
		return nil
	}); err != nil {
		return err
	}
	s.self.Store(&gateway)
	if s.remember == nil {
		return nil
	}
	return s.remember()
}

// Identity returns the identity of the store.
func (s *Store) Identity(ctx context.Context) (id san.UUID, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		_, err := tx.get(storeKey, &id)
		return err
	})
	return id, err
}

// Claimed returns the claim, nil where there is none.
func (tx *Tx) Claimed() (*Claim, error) {
	var c Claim
	found, err := tx.get(claimKey, &c)
	if !found || err != nil {
		return nil, err
	}
	return &c, nil
}

// Release takes the claim of a gateway away, with what it registered: another
// may serve then. If it runs still, it stops. ErrNotFound: it has no claim.
func (tx *Tx) Release(gateway string) error {
	c, err := tx.Claimed()
	if err != nil {
		return err
	}
	if c == nil || c.Gateway != gateway {
		if _, err := tx.Gateway(gateway); err == nil {
			return san.Errorf(san.ErrRefused, "gateway %s does not serve alone, so that others need not wait for it; where it is gone for good, 'sango gateway remove %s' takes it away", gateway, gateway)
		} else if !errors.Is(err, san.ErrNotFound) {
			return err
		}
		return san.Errorf(san.ErrNotFound, "there is no gateway %s that serves the volumes of this metadata", gateway)
	}
	tx.del(claimKey)
	tx.RemoveGateway(gateway)
	return nil
}

// fence is a key with the value that all changes of a store depend on. A nil
// one holds always.
type fence struct{ key, value string }

func (f *fence) guard() clientv3.Cmp { return clientv3.Compare(clientv3.Value(f.key), "=", f.value) }

// look is what a transaction reads whose guards do not hold.
func (f *fence) look() []clientv3.Op {
	if f == nil {
		return nil
	}
	return []clientv3.Op{clientv3.OpGet(f.key)}
}

// lost returns an error when a transaction failed because of f.
func (f *fence) lost(resp *clientv3.TxnResponse) error {
	if f == nil || len(resp.Responses) == 0 {
		return nil
	}
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) == 1 && string(kvs[0].Value) == f.value {
		return nil
	}
	return san.Errorf(san.ErrRefused, "another process serves the volumes of this metadata now: this one may change nothing any more, and ends")
}
