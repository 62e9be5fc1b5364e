package target

import "sango/internal/iscsi"

// maxWindow bounds Config.Window.
const maxWindow = 1024

// window is the command window of a session (RFC 7143 §4.2.2.1): which CmdSN
// is next, which is the last that the initiator may send, and the commands
// that came before their turn because one before them was rejected. A command
// gives its credit back when its response goes out. It is guarded by conn.mu;
// only the reader changes held, and may read it without.
type window struct {
	exp  iscsi.CmdSN
	max  iscsi.CmdSN
	held map[iscsi.CmdSN]*ordered
}

// ordered is a command that waits for its turn.
type ordered struct {
	task *task        // set for a SCSI command
	run  func() error // executes it; nil: the number was given up (see plug)
}

// verdict is what to do with a numbered command.
type verdict uint8

const (
	ignore verdict = iota // outside the window, or a duplicate: as if it had never come
	now                   // its turn
	later                 // hold it: some before it are missing
)

func newWindow(exp iscsi.CmdSN, size int) window {
	return window{exp: exp, max: exp + iscsi.CmdSN(size) - 1}
}

// judge says what to do with the non-immediate command that carries sn.
func (w *window) judge(sn iscsi.CmdSN) verdict {
	switch {
	case !sn.Within(w.exp, w.max):
		return ignore
	case sn == w.exp:
		return now
	case w.held[sn] != nil:
		return ignore
	}
	return later
}

// advance counts the command at exp as received.
func (w *window) advance() { w.exp++ }

// release gives back the credit of one command.
func (w *window) release() { w.max++ }

// hold keeps o until its turn.
func (w *window) hold(sn iscsi.CmdSN, o *ordered) {
	if w.held == nil {
		w.held = make(map[iscsi.CmdSN]*ordered)
	}
	w.held[sn] = o
}

// next counts the held command whose turn it is as received and returns it,
// or returns nil. A number that was given up is skipped, and its credit
// returned.
func (w *window) next() *ordered {
	for {
		o := w.held[w.exp]
		if o == nil {
			return nil
		}
		delete(w.held, w.exp)
		w.advance()
		if o.run != nil {
			return o
		}
		w.release()
	}
}

// plug counts sn as received although its command did not come, or came and
// was aborted before its turn (RFC 7143 §11.5.1). It reports false when sn is
// not one that is still to come. The caller runs what next returns afterwards.
func (w *window) plug(sn iscsi.CmdSN) bool {
	if !sn.Within(w.exp, w.max) {
		return false
	}
	w.hold(sn, &ordered{})
	return true
}
