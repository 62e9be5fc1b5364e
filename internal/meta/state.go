package meta

import (
	"go.etcd.io/etcd/api/v3/mvccpb"

	"sango/internal/san"
)

// State is what gateways that serve together know of each other, for people: at
// one revision, without heartbeats.
type State struct {
	Coordinator  string // gateway; empty: nobody is elected
	Incarnations map[string]*Incarnation
	Drains       map[string]bool
	Harmless     map[string]uint64 // up to which incarnation
	Owners       map[san.UUID]*Owner
	Busy         map[string]*Busy // as gateways told last; nil: not known
}

// State returns who is there, and who has which volume.
func (tx *Tx) State() (*State, error) {
	st := &State{Drains: map[string]bool{}, Harmless: map[string]uint64{}, Busy: map[string]*Busy{}}
	b, _, err := tx.fetch(coordinatorKey)
	if err == nil && b != nil {
		var c Coordinator
		err = decode(coordinatorKey, b, &c)
		st.Coordinator = c.Gateway
	}
	if err != nil {
		return nil, err
	}
	if st.Incarnations, err = tx.Incarnations(); err != nil {
		return nil, err
	}
	for _, kind := range []RecordKind{RecordDrain, RecordHarmless, RecordBusy} {
		if err := tx.each(string(kind), func(name string, kv *mvccpb.KeyValue) error {
			r, _, err := record(kv, false)
			switch v := r.Value.(type) {
			case *Drain:
				st.Drains[name] = true
			case *Harmless:
				st.Harmless[name] = v.UpTo
			case *Busy:
				st.Busy[name] = v
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	st.Owners, err = tx.Owners()
	return st, err
}

// Incarnations returns the present start of every gateway that has been a member.
func (tx *Tx) Incarnations() (map[string]*Incarnation, error) {
	all := map[string]*Incarnation{}
	err := tx.each(string(RecordIncarnation), func(name string, kv *mvccpb.KeyValue) error {
		r, _, err := record(kv, false)
		if v, ok := r.Value.(*Incarnation); ok {
			all[name] = v
		}
		return err
	})
	return all, err
}
