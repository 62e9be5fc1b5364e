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
	initiator := c.identity.Initiator.Name
	elsewhere := make(chan bool, 1)
	switch f := c.srv.cfg.Fence; {
	case f == nil:
		elsewhere <- true
	case !f(initiator, l, stop, func(ended bool) { elsewhere <- ended }):
		c.srv.reg.endFence(c.host)
		return false
	}
	c.srv.running.Add(1) // the connection is running, so Close is not past its wait
	go func() {
		defer c.srv.running.Done()
		ended := c.srv.fence(c, initiator, &l, stop)
		ended = <-elsewhere && ended // which answers when stop is closed
		c.srv.reg.endFence(c.host)
		done(ended)
	}()
	return true
}

// Fence ends the sessions of an initiator that l names, for a fence that it
// sent to another gateway, and calls done when nothing of them is left. It
// does not block.
func (s *Server) Fence(initiator string, l scsi.FenceList, done func()) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.running.Add(1)
	}
	s.mu.Unlock()
	if closed {
		go func() {
			s.running.Wait()
			done()
		}()
		return
	}
	go func() {
		defer s.running.Done()
		s.fence(nil, initiator, &l, nil)
		done()
	}()
}

// fence ends the sessions of an initiator that l names, but for that of c, over
// which it may have come, and reports whether it saw their end before stop was
// closed. A session that it does not find has ended, or has not finished its
// login: then it was not told so, and its initiator, which gave the name up,
// will never send a command.
func (s *Server) fence(c *conn, initiator string, l *scsi.FenceList, stop <-chan struct{}) bool {
	var named []*conn
	for _, v := range s.all(false) {
		i := v.snapshot()
		if _, ok := l.Names(i.Instance); !ok || v == c || i.Initiator != initiator {
			continue
		}
		v.log.Info("a session was fenced by its initiator", "instance", i.Instance.String(), "tsih", i.TSIH, "through", i.Peer)
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
