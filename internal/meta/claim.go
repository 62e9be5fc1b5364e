package meta

import (
	"context"
	"encoding/json"
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
			return san.Errorf(san.ErrRefused, "the volumes of this metadata are served by gateway %s on machine %s, from its directory %s; only one gateway serves as yet. Give this one metadata of its own, or run 'sango cluster release %s' if that one is gone for good", old.Gateway, old.Machine, old.Dir, old.Gateway)
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
		return san.Errorf(san.ErrNotFound, "gateway %s does not serve the volumes of this metadata", gateway)
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
