package meta

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// live is before the keys that say who is there. They change all the time, and
// are of no use in a backup.
const live = "/sango/live/"

// all is before every key of ours.
const all = "/sango/"

// What the coordinator alone follows is in front of what all gateways do.
const liveForAll = live + "c"

// RecordKind is a kind of record that the protocol of ownership is about
// (docs/cluster-model.md). Its value is the directory of its key.
type RecordKind string

// The kinds, each with the type of its values.
const (
	RecordCounter     RecordKind = prefix + "counters/" + incarnations // uint64: the last incarnation; no name
	RecordCoordinator RecordKind = live + "coordinator"                // *Coordinator; no name
	RecordIncarnation RecordKind = live + "incarnations/"              // *Incarnation, by gateway
	RecordDrain       RecordKind = live + "drains/"                    // *Drain, by gateway
	RecordHarmless    RecordKind = live + "harmless/"                  // *Harmless, by gateway
	RecordOwner       RecordKind = prefix + "owners/"                  // *Owner, by volume
	RecordVolume      RecordKind = prefix + "volumes/"                 // *san.Volume, by volume; to read
	RecordReserved    RecordKind = prefix + "units/"                   // *Reserved, by volume

	RecordRegistered RecordKind = prefix + "gateways/" // by gateway; for guards alone

	RecordAsk  RecordKind = live + "asks/"  // *Ask, by volume
	RecordBeat RecordKind = live + "beats/" // *Beat, by gateway
	RecordBusy RecordKind = live + "busy/"  // *Busy, by gateway
)

// Incarnation is the present start of a gateway. It is written when that
// begins and when it ends, and never between: heartbeats are guarded by it.
type Incarnation struct {
	Number uint64 `json:"number"`        // no two starts of whatever gateways have one
	Life   Life   `json:"life"`          //
	Why    string `json:"why,omitempty"` // it is dead
}

// Life is the state of an incarnation.
type Life string

// The lives.
const (
	Alive   Life = "alive"
	Dead    Life = "dead"    // declared so, or it left: there is no way back
	Removed Life = "removed" // by an administrator
)

// Beat is the last heartbeat of a gateway.
type Beat struct {
	Incarnation uint64    `json:"incarnation"`
	Count       uint64    `json:"count"` // grows with each
	Suspects    []Suspect `json:"suspects,omitempty"`
	Leaving     bool      `json:"leaving,omitempty"` // it gives up what it has
}

// Suspect is an incarnation of a gateway that another can't reach.
type Suspect struct {
	Gateway     string `json:"gateway"`
	Incarnation uint64 `json:"incarnation"`
}

// Drain is there while a gateway is to be empty.
type Drain struct{}

// Harmless says up to which incarnation nothing of a gateway can reach a medium
// any more.
type Harmless struct {
	UpTo uint64 `json:"up_to"`
}

// Reserved are the reservations of a volume.
type Reserved struct {
	Epoch san.Epoch `json:"epoch"` // of the owner that wrote them; 0: of a node that is alone
	Data  []byte    `json:"data"`
}

// Ask is the wish of a host to have a volume moved. It goes by itself.
type Ask struct {
	To string `json:"to"` // gateway
	By string `json:"by"` // nexus
}

// Busy is how much work the volumes of a gateway are that are not idle: requests
// a second, and 64 KiB a second that they move, together.
type Busy struct {
	Volumes map[san.UUID]int `json:"volumes"`
}

// RecordKey names a record. Name is a gateway or the id of a volume, or empty.
type RecordKey struct {
	Kind RecordKind
	Name string
}

func (k RecordKey) path() string {
	if k.Kind == RecordReserved {
		return string(k.Kind) + k.Name + "/" + stateReservations
	}
	return string(k.Kind) + k.Name
}

// Record is a record as it was at a revision.
type Record struct {
	RecordKey
	Revision int64 // of the transaction that wrote or deleted it; 0: there is none
	Value    any   // see the kinds; nil: there is none
}

// Guard holds where a record has a revision, 0: where there is none; Present:
// where there is one.
type Guard struct {
	RecordKey
	Revision int64
}

// Present stands for any revision of a record in a Guard.
const Present = -1

// recordOf returns the key of a record, if key is one.
func recordOf(key string) (RecordKey, bool) {
	for _, kind := range []RecordKind{
		RecordBeat, RecordOwner, RecordVolume, RecordIncarnation, RecordDrain, RecordHarmless, RecordAsk, RecordBusy, RecordReserved,
	} {
		name, ok := strings.CutPrefix(key, string(kind))
		if !ok {
			continue
		}
		if kind == RecordReserved {
			name, ok = strings.CutSuffix(name, "/"+stateReservations)
		}
		return RecordKey{kind, name}, ok
	}
	kind := RecordKind(key)
	return RecordKey{Kind: kind}, kind == RecordCounter || kind == RecordCoordinator
}

// empty returns a value to decode one of the kind into.
func (k RecordKind) empty() any {
	switch k {
	case RecordCoordinator:
		return new(Coordinator)
	case RecordIncarnation:
		return new(Incarnation)
	case RecordBeat:
		return new(Beat)
	case RecordDrain:
		return new(Drain)
	case RecordHarmless:
		return new(Harmless)
	case RecordOwner:
		return new(Owner)
	case RecordVolume:
		return new(san.Volume)
	case RecordAsk:
		return new(Ask)
	case RecordBusy:
		return new(Busy)
	}
	return new(uint64)
}

// record decodes what a key holds. ok: it is a record.
func record(kv *mvccpb.KeyValue, gone bool) (r Record, ok bool, err error) {
	if r.RecordKey, ok = recordOf(string(kv.Key)); !ok {
		return r, false, nil
	}
	if r.Revision = kv.ModRevision; gone {
		return r, true, nil
	}
	if r.Kind == RecordReserved {
		r.Value, err = readReserved(kv.Value)
		return r, true, err
	}
	v := r.Kind.empty()
	if err := decode(string(kv.Key), kv.Value, v); err != nil {
		return r, true, err
	}
	switch x := v.(type) {
	case *uint64:
		v = *x
	case *Owner:
		x.Revision = kv.ModRevision
	case *Coordinator:
		x.Term = kv.CreateRevision
	}
	r.Value = v
	return r, true, nil
}

// stateReservations is what a unit keeps its reservations under
// (lun.StateReservations).
const stateReservations = "reservations"

// A unit that is alone keeps its reservations as they are. Those that an owner
// keeps have its epoch around them; nothing that a unit keeps begins alike.
var reservedBegins = []byte(`{"epoch":`)

func readReserved(b []byte) (*Reserved, error) {
	if !bytes.HasPrefix(b, reservedBegins) {
		return &Reserved{Data: b}, nil
	}
	r := &Reserved{}
	return r, decode("reservations", b, r)
}

// Change makes a change of records as a whole if all guards hold, and says at
// which revision; made is false where one does not. Value nil deletes. No claim
// guards it. The error is ErrUnknown or ErrUnavailable.
func (s *Store) Change(ctx context.Context, guards []Guard, changes []Record) (revision int64, made bool, err error) {
	cmps := make([]clientv3.Cmp, len(guards))
	for i, g := range guards {
		if cmps[i] = clientv3.Compare(clientv3.ModRevision(g.path()), "=", g.Revision); g.Revision == Present {
			cmps[i] = clientv3.Compare(clientv3.CreateRevision(g.path()), ">", 0)
		}
	}
	ops := make([]clientv3.Op, len(changes))
	var size int64
	for i, c := range changes {
		if c.Value == nil {
			ops[i] = clientv3.OpDelete(c.path())
			continue
		}
		b, err := json.Marshal(c.Value)
		if err != nil {
			return 0, false, fmt.Errorf("metadata %s: %w", c.path(), err)
		}
		size += changeSize(c.path(), b)
		ops[i] = clientv3.OpPut(c.path(), string(b))
	}
	if err := s.room.take(size, true); err != nil {
		return 0, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	resp, err := s.kv.Txn(ctx).If(cmps...).Then(ops...).Commit()
	if err != nil {
		return 0, false, commitErr(err)
	}
	return resp.Header.Revision, resp.Succeeded, nil
}

// Passing writes a record that goes by itself after some seconds, guarded by
// nothing.
func (s *Store) Passing(ctx context.Context, r Record, seconds int64) error {
	b, err := json.Marshal(r.Value)
	if err != nil {
		return fmt.Errorf("metadata %s: %w", r.path(), err)
	}
	if err := s.room.take(changeSize(r.path(), b), false); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	grant, err := s.cli.Grant(ctx, seconds)
	if err != nil {
		return storeErr(err, false)
	}
	if _, err = s.kv.Put(ctx, r.path(), string(b), clientv3.WithLease(grant.ID)); err != nil {
		return commitErr(err)
	}
	return nil
}

// Records reads records, all at one revision that is no older than the call.
func (s *Store) Records(ctx context.Context, keys ...RecordKey) (revision int64, records []Record, err error) {
	ops := make([]clientv3.Op, len(keys))
	for i, k := range keys {
		ops[i] = clientv3.OpGet(k.path())
	}
	var resp *clientv3.TxnResponse
	if err := askAgain(ctx, func(ctx context.Context) (err error) {
		resp, err = s.kv.Txn(ctx).Then(ops...).Commit()
		return err
	}); err != nil {
		return 0, nil, err
	}
	for i, k := range keys {
		r := Record{RecordKey: k}
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) == 1 {
			if r, _, err = record(kvs[0], false); err != nil {
				return 0, nil, err
			}
		}
		records = append(records, r)
	}
	return resp.Header.Revision, records, nil
}
