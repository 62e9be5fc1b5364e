package target

import (
	"fmt"
	"time"

	"sango/internal/san"
)

// counters count what a connection did. They are guarded by conn.mu.
type counters struct {
	commands uint64
	read     uint64 // bytes sent to the initiator as task data
	written  uint64 // bytes received from it
	rejects  uint64
	strays   uint64 // Data-Out PDUs of tasks that were over
}

// SessionInfo is what a session is and does.
type SessionInfo struct {
	Target       string // IQN, empty for a discovery session
	Initiator    string // IQN
	ISID         string // hex
	Host         string // host record that the login matched, "" where the target is open
	User         string // CHAP account, "" without authentication
	Peer         string // ip:port
	TPG          uint16
	TSIH         uint16
	CID          uint16
	Instance     san.Instance // that the initiator declared (docs/fence.md)
	Discovery    bool
	Login        bool // the login is not over: what the initiator says it is was not proved
	HeaderDigest bool
	DataDigest   bool
	Since        time.Time

	Commands   uint64 // SCSI commands received
	BytesRead  uint64 // task data sent to the initiator
	BytesWrite uint64 // task data received from it
	Rejects    uint64
	Strays     uint64 // data PDUs that belonged to no task
	Tasks      int    // outstanding now
	Memory     int64  // bytes of task data held or reserved now
}

// Totals is what a server has counted since it began.
type Totals struct {
	Connections  uint64 // accepted
	Refused      uint64 // reset at once because of a limit
	Logins       uint64 // that reached full feature phase
	FailedLogins uint64
	Memory       int64 // bytes of task data held or reserved now
}

// describe returns the constant part of the info, as far as it is known.
func (c *conn) describe() SessionInfo {
	return SessionInfo{
		Target: c.identity.Target, Initiator: c.identity.Initiator.Name,
		ISID: fmt.Sprintf("%x", c.identity.Initiator.ISID[:]), Host: c.grant.Host,
		Peer: c.peer.String(), TPG: uint16(c.tpg), TSIH: c.tsih, CID: c.cid, Instance: c.identity.Instance, Discovery: c.identity.Discovery,
		HeaderDigest: c.params.HeaderDigest, DataDigest: c.params.DataDigest, Since: c.opened,
	}
}

// snapshot returns the info of the moment.
func (c *conn) snapshot() SessionInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.info
	i.Commands, i.BytesRead, i.BytesWrite = c.stats.commands, c.stats.read, c.stats.written
	i.Rejects, i.Strays = c.stats.rejects, c.stats.strays
	i.Tasks, i.Memory = len(c.tasks), c.memory.used.Load()
	return i
}
