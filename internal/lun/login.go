package lun

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"

	"sango/internal/san"
	"sango/internal/scsi"
)

// Login numbers. A RESERVE(6) ends with its I_T nexus (SPC-2 §7.22). Its record
// outlives the owner, and names the holder: by its nexus alone, the next owner
// would take a later session of the same initiator port for it, where the former
// one did not come to store its end. So each I_T_L nexus has a number, which its
// gateway gives it and the record names. It has a new one when its host is told
// that it was lost.

// logins counts from a random number on, so that those of all gateways, and of
// all runs of each, differ.
var logins = func() *atomic.Uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	n := &atomic.Uint64{}
	n.Store(binary.BigEndian.Uint64(b[:]))
	return n
}()

// NewLogin returns a number that no other login has. It is not 0.
func NewLogin() uint64 {
	for {
		if n := logins.Add(1); n != 0 {
			return n
		}
	}
}

// Standing is how an I_T_L nexus comes to an owner of the volume.
type Standing struct {
	// Fresh: it logged in just now, or begins anew: it can have missed nothing that
	// it is not told otherwise.
	Fresh bool
	// Login is its number; 0: not known, its gateway is of an earlier version.
	Login uint64
	// Doubt: it may have missed the loss of what it held by RESERVE(6), or
	// something else: unless it is the holder by the record, it is to be told of
	// the loss of its nexus.
	Doubt bool
}

// standing is how i comes to the owner next. Call with the lock of the unit.
func (i *itl) standing(fresh bool) Standing {
	return Standing{Fresh: fresh, Login: i.login.Load(), Doubt: !fresh && (i.cut || i.six.Load())}
}

// inDoubt returns Standing.Doubt of i, once.
func (u *Unit) inDoubt(i *itl) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	var was bool
	if i.remote != nil {
		was, i.remote.doubt = i.remote.doubt, false
	} else {
		was, i.cut = i.cut || i.six.Load(), false
	}
	return was
}

// reassure tells i, of which something is in doubt, that its nexus was lost,
// unless it holds the RESERVE(6) that the record names.
func (u *Unit) reassure(i *itl) {
	switch {
	case !u.inDoubt(i) || u.guard.holds(i):
	case i.remote != nil:
		i.remote.tr.Tell(i.lun, Event{Attention: scsi.ASCNexusLoss, DSense: u.modes.descriptorSense()}, func() {})
	default:
		i.raise(scsi.ASCNexusLoss)
	}
}

// raise establishes a unit attention. With those of resets RESERVE(6) is over.
func (i *itl) raise(c scsi.ASC) {
	if rank(c) < rankOther {
		i.six.Store(false)
	}
	i.attn.raise(c)
}

// Cut tells that the link to the owner of LUN l, which r goes to, was lost: what
// the owner had to tell is not known, and it takes that for the loss of the
// nexus.
func (n *Nexus) Cut(l san.LUN, r Relay) {
	i := n.view.Load().at(l)
	if i == nil {
		return
	}
	u := i.unit
	u.mu.Lock()
	defer u.mu.Unlock()
	if i.relay == r && (u.relay == nil || u.relay == r) {
		i.cut = true
	}
}

// Opened tells that the owner of LUN l, which r goes to, has taken up the nexus;
// if anew ≠ 0, after it was lost, under that number.
func (n *Nexus) Opened(l san.LUN, r Relay, anew uint64) {
	i := n.view.Load().at(l)
	if i == nil {
		return
	}
	u := i.unit
	u.mu.Lock()
	defer u.mu.Unlock()
	if i.relay != r || u.relay != r { // another owner sees to it
		return
	}
	i.cut = false
	if anew != 0 {
		i.login.Store(anew)
		i.raise(scsi.ASCNexusLoss)
	}
}
