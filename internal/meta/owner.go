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
	// the incarnation of its process. Empty: nobody does.
	Gateway     string `json:"gateway,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
	// To is who is to own it, in the states moving and released.
	To            string    `json:"to,omitempty"`
	ToIncarnation uint64    `json:"to_incarnation,omitempty"`
	Epoch         san.Epoch `json:"epoch"`            // grows by one with each grant
	Reason        string    `json:"reason,omitempty"` // of the last grant
	Failed        string    `json:"failed,omitempty"` // the gateway that could not open it, last time
	Asked         string    `json:"asked,omitempty"`  // who asked for the move
	Since         time.Time `json:"since,omitzero"`   // of the state, on the clock of who wrote it: for people

	// Revision is the one of the store in which the record was written, when it
	// was read; 0: there is none.
	Revision int64 `json:"-"`
}

// OwnerState is a state of ownership.
type OwnerState string

// The states of ownership.
const (
	OwnerNone     OwnerState = "none"     // nobody owns it, and nobody has it open
	OwnerActive   OwnerState = "active"   // Gateway executes
	OwnerMoving   OwnerState = "moving"   // granted to To; Gateway has to let go
	OwnerReleased OwnerState = "released" // Gateway has let go, or is gone; To may open
)

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
	o.Revision = tx.reads[RecordKey{RecordOwner, id.String()}.path()]
	return o, nil
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
