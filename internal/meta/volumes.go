package meta

import (
	"strings"

	"sango/internal/san"
)

// Pending marks a volume whose record and whose bytes do not agree yet,
// because the process that changes them may die in between.
type Pending string

// What is being done to a pending volume, and so what a node that finds the
// mark at its start has to do.
const (
	PendingCreate Pending = "create" // the bytes may be there, the record is not: delete them
	PendingDelete Pending = "delete" // the record is gone, the bytes may be there: delete them
	PendingResize Pending = "resize" // the bytes may be more than the record says: correct it
)

// pending marks a volume with what is being done to it. Where gateways serve
// together it says by whom: "create@gw1".
func (tx *Tx) pending(id san.UUID, p Pending) error {
	if by := tx.s.self.Load(); by != nil {
		p += "@" + Pending(*by)
	}
	return tx.put("pending/"+id.String(), p)
}

// By returns what is being done, and the gateway that does it; "" where it
// serves alone.
func (p Pending) By() (what Pending, gateway string) {
	a, b, _ := strings.Cut(string(p), "@")
	return Pending(a), b
}

// Begin notes that the bytes of a new volume are about to be made. It fails
// with ErrExists when the name is taken.
func (tx *Tx) Begin(id san.UUID, name string) error {
	if err := tx.nameFree(name); err != nil {
		return err
	}
	return tx.pending(id, PendingCreate)
}

// Abandon takes the permission of Begin back: CreateVolume fails from then on,
// also one that is on its way and whose outcome nobody knows. created reports
// that it was too late, because the record is there.
func (tx *Tx) Abandon(id san.UUID) (created bool, err error) {
	if created, err = tx.has("volumes/" + id.String()); created || err != nil {
		return created, err
	}
	tx.frees = true
	return false, tx.pending(id, PendingDelete)
}

// Settle removes the mark of a volume: its bytes and its record agree.
func (tx *Tx) Settle(id san.UUID) {
	tx.frees = true
	tx.del("pending/" + id.String())
}

// Pending lists the volumes whose change was cut short.
func (tx *Tx) Pending() (map[san.UUID]Pending, error) {
	m := map[san.UUID]Pending{}
	err := tx.list("pending/", func(rest string, value []byte) error {
		id, err := san.ParseUUID(rest)
		if err != nil {
			return err
		}
		var p Pending
		if err := decode("pending/"+rest, value, &p); err != nil {
			return err
		}
		m[id] = p
		return nil
	})
	return m, err
}

func (tx *Tx) nameFree(name string) error {
	taken, err := tx.has("volume-names/" + name)
	if err == nil && taken {
		err = san.Errorf(san.ErrExists, "a volume named %s exists; choose another name", name)
	}
	return err
}

// CreateVolume adds the record of a volume whose bytes exist (after Begin),
// and gives it its NAA designator. ErrExists: the name is taken. ErrRefused:
// Begin did not come first, or was abandoned.
func (tx *Tx) CreateVolume(v *san.Volume) error {
	if err := v.Check(); err != nil {
		return err
	}
	if err := tx.nameFree(v.Name); err != nil {
		return err
	}
	var p Pending
	if _, err := tx.get("pending/"+v.ID.String(), &p); err != nil {
		return err
	}
	if what, _ := p.By(); what != PendingCreate {
		return san.Errorf(san.ErrRefused, "volume %s: its creation was given up; try again", v.Name)
	}
	taken, err := tx.has("volumes/" + v.ID.String())
	if err != nil {
		return err
	}
	if taken {
		return san.Errorf(san.ErrExists, "a volume with the id %s exists", v.ID)
	}
	if v.NAA, err = tx.newNAA(v.ID); err != nil {
		return err
	}
	if v.Adopted != "" {
		if err := tx.adopt(v); err != nil {
			return err
		}
	}
	if err := tx.put("volume-names/"+v.Name, v.ID); err != nil {
		return err
	}
	tx.del("pending/" + v.ID.String())
	return tx.put("volumes/"+v.ID.String(), v)
}

// adopt makes a file or device belong to v alone.
func (tx *Tx) adopt(v *san.Volume) error {
	var owner san.UUID
	taken, err := tx.get("adopted/"+v.Adopted, &owner)
	if err != nil {
		return err
	}
	if taken {
		o, err := tx.Volume(owner)
		if err != nil {
			return err
		}
		return san.Errorf(san.ErrExists, "%s belongs to the volume %s already; delete that first (the file stays)", v.Adopted, o.Name)
	}
	return tx.put("adopted/"+v.Adopted, v.ID)
}

// Volume returns a volume by its id.
func (tx *Tx) Volume(id san.UUID) (*san.Volume, error) {
	var v san.Volume
	found, err := tx.get("volumes/"+id.String(), &v)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, san.Errorf(san.ErrNotFound, "no volume has the id %s", id)
	}
	return &v, nil
}

// VolumeNamed returns a volume by its name.
func (tx *Tx) VolumeNamed(name string) (*san.Volume, error) {
	var id san.UUID
	found, err := tx.get("volume-names/"+name, &id)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, san.Errorf(san.ErrNotFound, "there is no volume %s; 'sango volume list' shows what there is", name)
	}
	return tx.Volume(id)
}

// Volumes returns all volumes.
func (tx *Tx) Volumes() ([]*san.Volume, error) {
	var all []*san.Volume
	err := tx.list("volumes/", func(rest string, value []byte) error {
		var v san.Volume
		if err := decode("volumes/"+rest, value, &v); err != nil {
			return err
		}
		all = append(all, &v)
		return nil
	})
	return all, err
}

// growing returns a volume that may grow to size, in bytes. Smaller is refused:
// hosts would lose data that they still believe to have.
func (tx *Tx) growing(id san.UUID, size int64) (*san.Volume, error) {
	v, err := tx.Volume(id)
	if err != nil {
		return nil, err
	}
	if err := san.CheckVolumeSize(v.Name, size, v.BlockSize); err != nil {
		return nil, err
	}
	if size < v.Size {
		return nil, san.Errorf(san.ErrRefused, "volume %s has %s and can't shrink to %s; create a smaller one and copy", v.Name, san.FormatSize(v.Size), san.FormatSize(size))
	}
	return v, nil
}

// BeginResize notes that the bytes of a volume are about to grow to size.
// ErrRefused: it has more already.
func (tx *Tx) BeginResize(id san.UUID, size int64) error {
	if _, err := tx.growing(id, size); err != nil {
		return err
	}
	return tx.pending(id, PendingResize)
}

// ResizeVolume sets the size, in bytes, of a volume whose bytes have grown to
// it. ErrRefused: it has more already.
func (tx *Tx) ResizeVolume(id san.UUID, size int64) error {
	v, err := tx.growing(id, size)
	if err != nil {
		return err
	}
	v.Size = size
	tx.del("pending/" + id.String())
	return tx.put("volumes/"+id.String(), v)
}

// PlaceVolume sets how a volume is fenced, and which gateways are to serve it.
// ErrRefused: not all nodes know of that yet.
func (tx *Tx) PlaceVolume(id san.UUID, fencing san.Fencing, prefer []string) error {
	now, err := tx.schema()
	if err != nil {
		return err
	}
	if now < clusterSchema {
		return san.Errorf(san.ErrRefused, "the metadata has schema version %d, and volumes have a place from %d on: start the newer sango on all nodes", now, clusterSchema)
	}
	v, err := tx.Volume(id)
	if err != nil {
		return err
	}
	if v.Fencing, v.Prefer = fencing, prefer; v.Check() != nil {
		return v.Check()
	}
	return tx.put("volumes/"+id.String(), v)
}

// DeleteVolume removes the record and what its logical unit kept, and marks
// the bytes for deletion. ErrRefused: a LUN maps it.
func (tx *Tx) DeleteVolume(id san.UUID) error {
	v, err := tx.Volume(id)
	if err != nil {
		return err
	}
	uses, err := tx.Mappings(id)
	if err != nil {
		return err
	}
	if len(uses) > 0 {
		return san.Errorf(san.ErrRefused, "volume %s is mapped as LUN %d of %s; run 'sango target unmap %s %d' first", v.Name, uses[0].LUN, uses[0].Target, uses[0].Target, uses[0].LUN)
	}
	if err := tx.list("units/"+id.String()+"/", func(rest string, _ []byte) error {
		tx.del("units/" + id.String() + "/" + rest)
		return nil
	}); err != nil {
		return err
	}
	tx.del("volumes/" + id.String())
	tx.del("owners/" + id.String())
	tx.del("volume-names/" + v.Name)
	tx.del(naaKey(v.NAA))
	if v.Adopted != "" {
		tx.del("adopted/" + v.Adopted)
	}
	tx.frees = true
	return tx.pending(id, PendingDelete)
}
