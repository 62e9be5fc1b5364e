package meta

import (
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"sango/internal/san"
)

// Owner is the record of who executes the commands of a volume.
type Owner struct {
	State OwnerState `json:"state"`
	// Gateway is who owns it, or in the states moving and released who did; with
	// the incarnation of its process. Empty: nobody has yet.
	Gateway     string `json:"gateway,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
	// To is who is to own it, in the states moving and released.
	To            string    `json:"to,omitempty"`
	ToIncarnation uint64    `json:"to_incarnation,omitempty"`
	Epoch         san.Epoch `json:"epoch"`            // grows by one with each grant
	Reason        string    `json:"reason,omitempty"` // of the last grant, for people
	Since         time.Time `json:"since,omitzero"`   // of the state, on the clock of who wrote it

	// Revision is the one of the store in which the record was written, when it
	// was read; 0: there is none.
	Revision int64 `json:"-"`
}

// OwnerState is a state of ownership.
type OwnerState string

// The states of ownership.
const (
	OwnerNone     OwnerState = "none"     // nobody has owned it
	OwnerActive   OwnerState = "active"   // Gateway executes
	OwnerMoving   OwnerState = "moving"   // granted to To; Gateway has to let go
	OwnerReleased OwnerState = "released" // Gateway has let go; To may open
)

// same reports whether two records are of the same moment.
func (o *Owner) same(p *Owner) bool {
	return o.State == p.State && o.Gateway == p.Gateway && o.Incarnation == p.Incarnation && o.To == p.To && o.ToIncarnation == p.ToIncarnation && o.Epoch == p.Epoch
}

func ownerKey(id san.UUID) string { return prefix + "owners/" + id.String() }

func readOwner(kv *mvccpb.KeyValue) (*Owner, error) {
	o := &Owner{Revision: kv.ModRevision}
	return o, decode(string(kv.Key), kv.Value, o)
}

// Owner returns who owns a volume, in the state none where nobody has.
func (tx *Tx) Owner(id san.UUID) (*Owner, error) {
	o := &Owner{State: OwnerNone}
	if _, err := tx.get("owners/"+id.String(), o); err != nil {
		return nil, err
	}
	o.Revision = tx.reads[ownerKey(id)]
	return o, nil
}

// SetOwner replaces the record of who owns a volume. It is guarded by what it
// was decided on: ErrRefused says that from is not what is there, or that the
// epoch would fall, or jump.
func (tx *Tx) SetOwner(id san.UUID, from, to *Owner) error {
	if _, err := tx.Volume(id); err != nil {
		return err
	}
	now, err := tx.Owner(id)
	if err != nil {
		return err
	}
	if !now.same(from) {
		return san.Errorf(san.ErrRefused, "volume %s is %s at epoch %d, not %s at epoch %d: look again", id, now.State, now.Epoch, from.State, from.Epoch)
	}
	if to.Epoch < from.Epoch || to.Epoch > from.Epoch+1 {
		return san.Errorf(san.ErrRefused, "volume %s is at epoch %d, from which it can't go to %d", id, from.Epoch, to.Epoch)
	}
	return tx.put("owners/"+id.String(), to)
}

// Owners returns the records of all volumes that have one.
func (tx *Tx) Owners() (map[san.UUID]*Owner, error) {
	all := map[san.UUID]*Owner{}
	err := tx.each(prefix+"owners/", func(rest string, kv *mvccpb.KeyValue) error {
		id, err := san.ParseUUID(rest)
		if err != nil {
			return err
		}
		all[id], err = readOwner(kv)
		return err
	})
	return all, err
}
