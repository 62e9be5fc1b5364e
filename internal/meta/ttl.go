package meta

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sango/internal/san"
)

const ttlPrefix = "ttl/"

// TTLKey names the record that is there while the heartbeats of all gateways
// count for ttl; for guards alone.
func TTLKey(ttl time.Duration) RecordKey { return RecordKey{prefix + ttlPrefix, ttl.String()} }

// TTLError is the error of a gateway whose heartbeats would count for another
// time than those of others. Where these end, it passes.
type TTLError struct{ error }

// Unwrap returns the cause.
func (e *TTLError) Unwrap() error { return e.error }

// ShareTTL notes that the heartbeats of the gateways count for ttl. A coordinator
// that waits for less than the right of a gateway that is gone would give its
// volumes away too soon. TTLError (ErrRefused) where that is another time, and a gateway
// but the one named may have a right that it was given by then: it changes when
// all are stopped, or off.
func (tx *Tx) ShareTTL(gateway string, ttl time.Duration) error {
	had, err := tx.ttl()
	if err != nil || had == ttl.String() {
		return err
	}
	if had != "" {
		on, err := tx.mayServe(gateway)
		if err != nil {
			return err
		}
		if len(on) > 0 {
			return &TTLError{san.Errorf(san.ErrRefused, "heartbeats of the gateways of this metadata count for %s, and those of gateway %s would count for %v: set ttl: %s in its configuration. To change it for all, stop all gateways in order first; of %s it is not known that they have stopped", had, gateway, ttl, had, strings.Join(on, ", "))}
		}
	}
	if err := tx.ForgetTTL(); err != nil {
		return err
	}
	return tx.put(ttlPrefix+ttl.String(), struct{}{})
}

// ttl returns how long heartbeats count, "" where nothing was agreed on.
func (tx *Tx) ttl() (is string, err error) {
	err = tx.list(ttlPrefix, func(rest string, _ []byte) error {
		is = rest
		return nil
	})
	return is, err
}

// ForgetTTL is for a node that serves alone.
func (tx *Tx) ForgetTTL() error {
	is, err := tx.ttl()
	if is != "" {
		tx.del(ttlPrefix + is)
	}
	return err
}

// mayServe returns the gateways but one of which it is not certain that they can
// reach no medium, by name.
func (tx *Tx) mayServe(but string) (on []string, err error) {
	all, err := tx.Incarnations()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		i := all[name]
		if name == but {
			continue
		}
		var off Harmless
		key := RecordKey{RecordHarmless, name}.path()
		b, _, err := tx.fetch(key)
		if err == nil && b != nil {
			err = decode(key, b, &off)
		}
		if err != nil {
			return nil, fmt.Errorf("gateway %s: %w", name, err)
		}
		if i.Life == Alive || off.UpTo < i.Number {
			on = append(on, name)
		}
	}
	return on, nil
}
