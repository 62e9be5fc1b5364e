package meta

import "sango/internal/san"

// sharedKey has the identity of the directory of volumes that gateways share.
const sharedKey = "shared-volumes"

// ShareVolumes notes that the gateways of this metadata share the directory of
// layered volumes with the identity id. ErrRefused where they share another
// one: the volumes would look empty, or gone, on the gateway that has this one.
func (tx *Tx) ShareVolumes(id san.UUID) error {
	if id.IsZero() {
		return san.Errorf(san.ErrInvalid, "a directory of volumes has an identity, and none is given")
	}
	had, err := tx.SharedVolumes()
	switch {
	case err != nil || had == id:
		return err
	case had.IsZero():
		return tx.put(sharedKey, id)
	}
	return OtherVolumes(had, id)
}

// OtherVolumes is the error of a gateway whose directory of volumes has the
// identity id, zero for none, where the others share the one with shared.
func OtherVolumes(shared, id san.UUID) error {
	here := "the one here has " + id.String()
	if id.IsZero() {
		here = "the one here has none, since nothing is in it yet"
	}
	return san.Errorf(san.ErrRefused, "the gateways of this metadata share the directory of volumes with the identity %s, and %s: mount the directory that the others use, or name the right one with volumes: in the configuration", shared, here)
}

// SharedVolumes returns the identity of the directory of volumes that gateways
// share; zero: none is known.
func (tx *Tx) SharedVolumes() (id san.UUID, err error) {
	_, err = tx.get(sharedKey, &id)
	return id, err
}
