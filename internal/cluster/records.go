package cluster

import (
	"time"

	"sango/internal/cluster/model"
	"sango/internal/meta"
	"sango/internal/san"
)

// kinds are the kinds of the model's records as the metadata calls them.
var kinds = map[model.Kind]meta.RecordKind{
	model.KindCounter: meta.RecordCounter, model.KindCoordinator: meta.RecordCoordinator, model.KindGateway: meta.RecordIncarnation,
	model.KindBeat: meta.RecordBeat, model.KindDrain: meta.RecordDrain, model.KindFence: meta.RecordHarmless,
	model.KindVolume: meta.RecordVolume, model.KindOwner: meta.RecordOwner, model.KindReservation: meta.RecordReserved,
}

var modelKinds = func() map[meta.RecordKind]model.Kind {
	m := map[meta.RecordKind]model.Kind{}
	for k, kind := range kinds {
		m[kind] = k
	}
	return m
}()

// keyOf returns the name of a record in the metadata.
func keyOf(k model.Key) meta.RecordKey {
	name := string(k.Gateway)
	switch k.Kind {
	case model.KindVolume, model.KindOwner, model.KindReservation:
		name = k.Volume.String()
	}
	return meta.RecordKey{Kind: kinds[k.Kind], Name: name}
}

// recordOf returns the record as the metadata keeps it.
func recordOf(r model.Record) meta.Record {
	m := meta.Record{RecordKey: keyOf(r.Key())}
	switch r := r.(type) {
	case model.CounterRecord:
		m.Value = uint64(r.Last)
	case model.GatewayRecord:
		m.Value = &meta.Incarnation{Number: uint64(r.Incarnation), Life: lives[r.Life], Why: string(r.Why)}
	case model.BeatRecord:
		b := &meta.Beat{Incarnation: uint64(r.Incarnation), Count: r.Seq, Leaving: r.Leaving}
		for _, s := range r.Suspects {
			b.Suspects = append(b.Suspects, meta.Suspect{Gateway: string(s.Gateway), Incarnation: uint64(s.Incarnation)})
		}
		m.Value = b
	case model.DrainRecord:
		m.Value = &meta.Drain{}
	case model.FenceRecord:
		m.Value = &meta.Harmless{UpTo: uint64(r.Upto)}
	case model.OwnerRecord:
		m.Value = ownerOf(r)
	case model.ReservationRecord:
		m.Value = &meta.Reserved{Epoch: r.Epoch, Data: []byte(r.Data)}
	}
	return m
}

// changeOf returns what a record of the metadata tells the machines. ok: it
// does.
func changeOf(m meta.Record) (c model.Change, ok bool) {
	c.Rev = model.Revision(m.Revision)
	c.Key.Kind, ok = modelKinds[m.Kind]
	switch c.Key.Kind {
	case model.KindVolume, model.KindOwner, model.KindReservation:
		id, err := san.ParseUUID(m.Name)
		if err != nil {
			return c, false
		}
		c.Key.Volume = id
	default:
		c.Key.Gateway = model.GatewayID(m.Name)
	}
	id := c.Key.Gateway
	switch v := m.Value.(type) {
	case uint64:
		c.Record = model.CounterRecord{Last: model.Incarnation(v)}
	case *meta.Coordinator:
		c.Record = model.CoordinatorRecord{Gateway: model.GatewayID(v.Gateway)}
	case *meta.Incarnation:
		c.Record = model.GatewayRecord{ID: id, Incarnation: model.Incarnation(v.Number), Life: lifeOf(v.Life), Why: model.Reason(v.Why)}
	case *meta.Beat:
		b := model.BeatRecord{ID: id, Incarnation: model.Incarnation(v.Incarnation), Seq: v.Count, Leaving: v.Leaving}
		for _, s := range v.Suspects {
			b.Suspects = append(b.Suspects, member(s.Gateway, s.Incarnation))
		}
		c.Record = b
	case *meta.Drain:
		c.Record = model.DrainRecord{ID: id}
	case *meta.Harmless:
		c.Record = model.FenceRecord{ID: id, Upto: model.Incarnation(v.UpTo)}
	case *san.Volume:
		c.Record = volumeOf(v)
	case *meta.Owner:
		c.Record = modelOwner(c.Key.Volume, v)
	case *meta.Reserved:
		c.Record = model.ReservationRecord{Volume: c.Key.Volume, Epoch: v.Epoch, Data: string(v.Data)}
	}
	return c, ok
}

var lives = map[model.Life]meta.Life{model.Alive: meta.Alive, model.Dead: meta.Dead, model.Removed: meta.Removed}

// lifeOf counts what it does not know as dead.
func lifeOf(l meta.Life) model.Life {
	for m, s := range lives {
		if s == l {
			return m
		}
	}
	return model.Dead
}

func member(gateway string, incarnation uint64) model.Member {
	return model.Member{Gateway: model.GatewayID(gateway), Incarnation: model.Incarnation(incarnation)}
}

func ownerOf(r model.OwnerRecord) *meta.Owner {
	o := &meta.Owner{
		Gateway: string(r.Owner.Gateway), Incarnation: uint64(r.Owner.Incarnation), To: string(r.To.Gateway), ToIncarnation: uint64(r.To.Incarnation),
		Epoch: r.Epoch, Reason: string(r.Reason), Failed: string(r.Failed), Asked: r.Asked, Since: time.Now().UTC(),
	}
	switch {
	case r.State == model.Free:
		o.State = meta.OwnerNone
	case r.State == model.Active:
		o.State = meta.OwnerActive
	case r.Released:
		o.State = meta.OwnerReleased
	default:
		o.State = meta.OwnerMoving
	}
	return o
}

func modelOwner(id san.UUID, o *meta.Owner) model.OwnerRecord {
	r := model.OwnerRecord{
		Volume: id, Owner: member(o.Gateway, o.Incarnation), To: member(o.To, o.ToIncarnation), Epoch: o.Epoch,
		Reason: model.Reason(o.Reason), Failed: model.GatewayID(o.Failed), Asked: o.Asked,
	}
	switch o.State {
	case meta.OwnerActive:
		r.State, r.Released = model.Active, true
	case meta.OwnerMoving:
		r.State = model.Moving
	case meta.OwnerReleased:
		r.State, r.Released = model.Moving, true
	}
	return r
}

// volumeOf is what ownership needs to know of a volume. What nobody said goes
// by the driver: files are locked by who has them open, and its lock is broken;
// memory is that of one process.
func volumeOf(v *san.Volume) model.VolumeRecord {
	r := model.VolumeRecord{ID: v.ID}
	switch v.Fencing {
	case san.FenceDriver:
		r.Fencing = model.FenceDriver
	case san.FenceCommand:
		r.Fencing = model.FenceCommand
	case "":
		if v.Driver == san.DriverLayered {
			r.Fencing = model.FenceDriver
		}
	}
	for _, g := range v.Prefer {
		r.Prefer = append(r.Prefer, model.GatewayID(g))
	}
	return r
}
