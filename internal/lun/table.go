package lun

import (
	"sync"

	"sango/internal/scsi"
)

// families are the command families. Each has a file of its own with its
// descriptors; a new family adds one line here.
func families() [][]command {
	return [][]command{
		readyCommands(),
		inquiryCommands(),
		lunsCommands(),
		senseCommands(),
		modeCommands(),
		logCommands(),
		reportCommands(),
		mediumCommands(),
		groupCommands(),
		capacityCommands(),
		readCommands(),
		writeCommands(),
		verifyCommands(),
		atomicCommands(),
		sameCommands(),
		unmapCommands(),
		cacheCommands(),
		persistCommands(),
		reserveCommands(),
		sanitizeCommands(),
		copyCommands(),
		fenceCommands(),
	}
}

// table is what units of one kind execute: exactly what REPORT SUPPORTED
// OPERATION CODES tells. It does not change once it is made.
type table struct {
	ops  [256]*opEntry
	list []*command // by operation code, then service action
}

// opEntry is one operation code.
type opEntry struct {
	cmd *command     // of an operation code without service actions
	sa  [32]*command // else, by service action
}

// every is all commands of all families, sealed.
var every = sync.OnceValue(func() []*command {
	var all []*command
	for _, f := range families() {
		for i := range f {
			f[i].seal()
			all = append(all, &f[i])
		}
	}
	return all
})

// tables holds the tables that were made, by which of every they have. Units
// of one kind share theirs: a node may have thousands.
var tables sync.Map // string → *table

// newTable returns the table of the commands that u has.
func newTable(u *Unit) *table {
	has := make([]byte, len(every()))
	for i, c := range every() {
		if c.only == nil || c.only(u) {
			has[i] = 1
		}
	}
	if t, ok := tables.Load(string(has)); ok {
		return t.(*table)
	}
	t, _ := tables.LoadOrStore(string(has), collect(has))
	return t.(*table)
}

// collect makes the table of those of every that has marks.
func collect(has []byte) *table {
	t := &table{}
	for i, c := range every() {
		if has[i] == 0 {
			continue
		}
		e := t.ops[c.op]
		if e == nil {
			e = &opEntry{}
			t.ops[c.op] = e
		}
		if c.op.HasServiceAction() {
			e.sa[c.sa&0x1f] = c
		} else {
			e.cmd = c
		}
	}
	for _, e := range t.ops {
		if e == nil {
			continue
		}
		if e.cmd != nil {
			t.list = append(t.list, e.cmd)
		}
		for _, c := range e.sa {
			if c != nil {
				t.list = append(t.list, c)
			}
		}
	}
	return t
}

// find returns the command that cdb asks for: INVALID COMMAND OPERATION CODE
// where the operation code is unknown, INVALID FIELD IN CDB with a pointer to
// the service action where only that is.
func (t *table) find(cdb *[16]byte) (*command, *scsi.CheckCondition) {
	e := t.ops[cdb[0]]
	if e == nil {
		return nil, scsi.Check(scsi.IllegalRequest, scsi.ASCInvalidOpCode)
	}
	if e.cmd != nil {
		return e.cmd, nil
	}
	if c := e.sa[cdb[1]&0x1f]; c != nil {
		return c, nil
	}
	return nil, scsi.InvalidField(1, 4)
}

// lookup returns the command by operation code and service action, nil if the
// unit has none.
func (t *table) lookup(op scsi.OpCode, sa scsi.ServiceAction) *command {
	switch e := t.ops[op]; {
	case e == nil:
		return nil
	case e.cmd != nil:
		return e.cmd
	case sa < 32:
		return e.sa[sa]
	default:
		return nil
	}
}
