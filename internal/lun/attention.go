package lun

import (
	"slices"
	"sync"
	"sync/atomic"

	"sango/internal/scsi"
)

// attentions are the pending unit attention conditions of one I_T_L nexus
// (SAM-5 §5.14), reported one a command, by precedence, then oldest first.
// UA_INTLCK_CTRL is 0: reporting a condition clears it.
type attentions struct {
	count atomic.Int32 // len(codes), readable without the lock
	mu    sync.Mutex   // guards codes
	codes []scsi.ASC
}

// rank is the precedence level of SAM-5 table 49; lower goes first. Levels
// below rankOther are resets: they go before RESERVATION CONFLICT (SAM-5
// §5.3.3) and tell so much that a pending one of lower precedence is dropped.
func rank(c scsi.ASC) int {
	switch c {
	case scsi.ASCPowerOnOrReset, scsi.ASCPowerOn:
		return 0
	case scsi.ASCBusReset:
		return 1
	case scsi.ASCDeviceReset, scsi.ASCInternalReset:
		return 2
	case scsi.ASCNexusLoss:
		return 3
	}
	return rankOther
}

const rankOther = 4

// raise establishes a condition. One that is pending already stays one.
func (a *attentions) raise(c scsi.ASC) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := rank(c)
	for i, old := range a.codes {
		switch {
		case old == c:
			return
		case r < rankOther && rank(old) < rankOther:
			// One reset is as good as another: the one of higher precedence stays.
			if r < rank(old) {
				a.codes[i] = c
			}
			return
		}
	}
	at := slices.IndexFunc(a.codes, func(old scsi.ASC) bool { return rank(old) > r })
	if at < 0 {
		at = len(a.codes)
	}
	a.codes = slices.Insert(a.codes, at, c)
	a.count.Store(int32(len(a.codes)))
}

// first returns the condition that would be reported next.
func (a *attentions) first() (scsi.ASC, bool) {
	if a.count.Load() == 0 {
		return 0, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.codes) == 0 {
		return 0, false
	}
	return a.codes[0], true
}

// take returns the condition that is reported now, and clears it.
func (a *attentions) take() (scsi.ASC, bool) {
	if a.count.Load() == 0 {
		return 0, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.codes) == 0 {
		return 0, false
	}
	c := a.codes[0]
	a.codes = a.codes[:copy(a.codes, a.codes[1:])]
	a.count.Store(int32(len(a.codes)))
	return c, true
}

// clear drops condition c if it is pending.
func (a *attentions) clear(c scsi.ASC) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.codes, c); i >= 0 {
		a.codes = slices.Delete(a.codes, i, i+1)
		a.count.Store(int32(len(a.codes)))
	}
}
