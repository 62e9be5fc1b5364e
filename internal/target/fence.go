package target

import (
	"sango/internal/lun"
	"sango/internal/scsi"
)

// The limits of fences that wait at the same time, of one initiator name and
// in all. Each costs a goroutine; a host with more to say waits for the answers.
const (
	hostFences   = 16
	serverFences = 1024
)

// Fencing implements lun.Fencer.
func (c *conn) Fencing() scsi.SangoPage {
	return scsi.SangoPage{
		Fence: true, MaxInstances: lun.MaxFenceInstances,
		PingTime: c.srv.cfg.NopInterval + c.srv.cfg.NopTimeout, MaxAge: c.srv.cfg.MaxAge,
		Instance: c.identity.Instance,
	}
}

// Fence implements lun.Fencer. The goroutine that waits ends with this
// connection at the latest: its teardown waits for the command, as that one's
// stop is closed then.
func (c *conn) Fence(l scsi.FenceList, stop <-chan struct{}, done func(bool)) bool {
	if !c.srv.reg.beginFence(c.host) {
		return false
	}
	c.srv.running.Add(1) // the connection is running, so Close is not past its wait
	go func() {
		defer c.srv.running.Done()
		ended := c.srv.fence(c, &l, stop)
		c.srv.reg.endFence(c.host)
		done(ended)
	}()
	return true
}

// fence ends the sessions that l, which came over c, names, and reports
// whether it saw their end before stop was closed. A session that it does not
// find has ended, or has not finished its login: then it was not told so, and
// its initiator, which gave the name up, will never send a command.
func (s *Server) fence(c *conn, l *scsi.FenceList, stop <-chan struct{}) bool {
	var named []*conn
	for _, v := range s.all(false) {
		i := v.snapshot()
		if _, ok := l.Names(i.Instance); !ok || v == c || i.Initiator != c.identity.Initiator.Name {
			continue
		}
		c.log.Info("a session was fenced by its initiator", "instance", i.Instance.String(), "tsih", i.TSIH, "through", i.Peer)
		v.end(errFenced, false)
		named = append(named, v)
	}
	for _, v := range named {
		select {
		case <-v.done:
		case <-stop:
			return false
		}
	}
	return true
}
