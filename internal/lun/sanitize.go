package lun

import (
	"time"

	"sango/internal/block"
	"sango/internal/scsi"
)

// sanitizeCommands returns SANITIZE (SBC-3 §5.29): overwrite, block erase and
// exit failure mode. There is no cryptographic erase: a volume has no key.
func sanitizeCommands() []command {
	list := []command{{
		sa: scsi.SASanitizeOverwrite, name: "SANITIZE(OVERWRITE)",
		usage: "\x48\xa1\x00\x00\x00\x00\x00\xff\xff\x00",
		parse: parseOverwrite, run: overwrite,
	}, {
		sa: scsi.SASanitizeBlockErase, name: "SANITIZE(BLOCK ERASE)",
		usage: "\x48\xa2\x00\x00\x00\x00\x00\x00\x00\x00",
		only:  (*Unit).thin,
		parse: parseSanitize, run: blockErase,
	}, {
		sa: scsi.SASanitizeExitFailureMode, name: "SANITIZE(EXIT FAILURE MODE)",
		usage: "\x48\x1f\x00\x00\x00\x00\x00\x00\x00\x00",
		run:   exitFailureMode,
	}}
	for i := range list {
		c := &list[i]
		c.op, c.nominal, c.recommended = scsi.OpSanitize, long, sanitizeTimeout
		c.flags, c.access = changes|sanitizing, accessWrite
	}
	return list
}

// sanitizeTimeout is what hosts are told to wait: long enough for 64 TiB at
// the default rate.
const sanitizeTimeout = 100 * time.Hour

// parseSanitize keeps every other command off the medium until the operation
// has started; from then on the condition of the unit does.
func parseSanitize(t *Task) error {
	bs, total := t.unit.geometry()
	t.span(lockExclusive, 0, int64(total)*bs)
	return nil
}

func parseOverwrite(t *Task) error {
	bs, _ := t.unit.geometry()
	n := int(scsi.ParseSanitize(&t.CDB).Length)
	if !scsi.OverwriteListFits(n, int(bs)) {
		return scsi.InvalidField(7, -1)
	}
	t.need = n
	return parseSanitize(t)
}

func overwrite(t *Task) error {
	bs, _ := t.unit.geometry()
	o, cc := scsi.ParseOverwrite(t.outBytes(t.need), int(bs))
	if cc != nil {
		return cc
	}
	return t.sanitize(sanitizeRecord{
		Op: sanitizeOverwrite, Pattern: append([]byte(nil), o.Pattern...), Invert: o.Invert, Passes: int(o.Count),
	})
}

func blockErase(t *Task) error {
	return t.sanitize(sanitizeRecord{Op: sanitizeErase, Passes: 1})
}

// sanitize starts the operation. With IMMED the command has ended with that,
// else it ends with the operation; ending it early does not end the operation
// (SBC-3 §4.11.2).
func (t *Task) sanitize(r sanitizeRecord) error {
	q := scsi.ParseSanitize(&t.CDB)
	r.AUSE = q.AUSE
	u := t.unit
	// A device that opens at first use tells only then what it shares.
	if err := t.do(block.OpFlush, 0, 0, 0, nil); err != nil {
		return err
	}
	if u.dev.Info().Caps.Shared {
		// Snapshots and clones keep what is to be destroyed.
		u.o.Logger.Warn("refused to sanitize a volume that shares data with snapshots or clones; delete them first", "volume", u.vol.Name)
		return scsi.Check(scsi.IllegalRequest, scsi.ASCCommandSequence)
	}
	waiter := t
	if q.Immediate {
		waiter = nil
	}
	switch err := u.sanitizer.begin(r, waiter); {
	case err != nil && u.moved(err):
		return t.back()
	case err != nil:
		return err
	}
	if q.Immediate {
		return nil
	}
	return errPending
}

// exitFailureMode makes a unit usable again whose sanitize operation failed,
// where that operation allowed it (AUSE).
func exitFailureMode(t *Task) error { return t.unit.sanitizer.exit() }

// sanitizeFailed is how commands end after an operation failed.
func sanitizeFailed() *scsi.CheckCondition {
	return scsi.Check(scsi.MediumError, scsi.ASCSanitizeFailed)
}

// stopped reports whether err means that the device was taken away rather than
// that it failed: the operation goes on where the volume is opened next.
func stopped(err error) bool {
	c := block.ClassOf(err)
	return c == block.Closed || c == block.Fenced
}
