package model

import "sango/internal/san"

// device is the medium of a volume that several gateways reach. A write that
// was submitted lands some time later, whoever lives or dies meanwhile, unless
// it is shut out.
type device struct {
	w       *world
	id      volumeID
	least   san.Epoch // of what lands, where the driver fences by epoch (R2)
	blocked map[Member]bool

	served  san.Epoch             // the highest that has begun to serve
	writers map[san.Epoch]Member  // who landed a write
	acked   map[san.Epoch]Instant // when the first write was answered
}

func newDevice(w *world, id volumeID) *device {
	return &device{
		w: w, id: id, blocked: map[Member]bool{}, writers: map[san.Epoch]Member{}, acked: map[san.Epoch]Instant{},
	}
}

// submit hands a write to the device. done is told whether it landed.
func (d *device) submit(m Member, e san.Epoch, done func(bool)) {
	d.w.after(d.w.span(0, d.w.h.Linger), func() {
		if d.blocked[m] || e < d.least {
			done(false)
			return
		}
		d.land(m, e)
		done(true)
	})
}

func (d *device) land(m Member, e san.Epoch) {
	if e < d.served {
		d.w.fail("%s: a write of %v under epoch %d lands when epoch %d serves", name(d.id), m, e, d.served)
	}
	if other, ok := d.writers[e]; ok && other != m {
		d.w.fail("%s: both %v and %v write under epoch %d", name(d.id), other, m, e)
	}
	d.writers[e] = m
}

// serve notes that an epoch has begun to serve. A gateway that was stopped may
// begin when a later epoch serves already: its right has run out, or the
// driver shuts it out.
func (d *device) serve(e san.Epoch) { d.served = max(d.served, e) }

// reads reports whether a read reaches the medium.
func (d *device) reads(m Member, e san.Epoch) bool {
	return d.w.h.Reads || !d.blocked[m] && e >= d.least
}

// answered notes that a write was answered with GOOD.
func (d *device) answered(e san.Epoch) {
	if _, ok := d.acked[e]; !ok {
		d.acked[e] = d.w.now
	}
}

// read looks at a read that came at an instant and was answered with GOOD.
func (d *device) read(m Member, e san.Epoch, came Instant) {
	for newer, at := range d.acked {
		if newer > e && at < came {
			d.w.fail("%s: %v answers a read under epoch %d, after a write under epoch %d was answered", name(d.id), m, e, newer)
		}
	}
}
