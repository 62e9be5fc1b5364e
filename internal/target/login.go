package target

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"sango/internal/bufpool"
	"sango/internal/iscsi"
	"sango/internal/lun"
	"sango/internal/san"
)

// login runs the login phase (RFC 7143 §6.3). When it returns nil the
// connection is in full feature phase.
func (c *conn) login() error {
	m := iscsi.NewLogin(iscsi.LoginConfig{
		TPG:        c.tpg,
		Limits:     c.srv.limits(),
		Challenger: c.srv.challenger,
		Identify:   c.identify,

		DiscoveryCHAP: c.srv.cfg.DiscoveryCHAP,
	})
	var elsewhere netip.AddrPort
	for first := true; ; first = false {
		if err := c.nextHeader(iscsi.LoginSegment); err != nil {
			return err
		}
		r, err := iscsi.ParseLoginRequest(&c.in.h)
		if err != nil {
			return c.notALogin(m, first)
		}
		data, _, err := c.readAll()
		if err != nil {
			return err
		}
		resp, text := m.Step(r, data.B)
		if i := m.Identity().Instance; i != c.identity.Instance {
			// Before the end of the login is answered: what was told that it is
			// logged in can be fenced.
			c.identity.Instance = i
			c.announce()
		}
		switch {
		case m.Err() == nil && c.refusal != iscsi.LoginSuccess:
			resp = m.Refuse(resp, c.refusal)
		case m.Done():
			status := c.establish(m, &resp)
			if status == iscsi.LoginUnavailable {
				elsewhere = c.elsewhere()
			}
			switch {
			case elsewhere.IsValid():
				resp, text = m.Redirect(resp, elsewhere)
			case status != iscsi.LoginSuccess:
				resp = m.Refuse(resp, status)
			}
		}
		c.answerLogin(&resp, text, m)
		data.Release()
		if elsewhere.IsValid() {
			return fmt.Errorf("%w to portal %v", errSentOn, elsewhere)
		}
		if err := m.Err(); err != nil {
			return fmt.Errorf("%w: %w", errLoginFailed, err)
		}
		if m.Done() {
			return nil
		}
	}
}

// notALogin ends a login in which another PDU came: without an answer if
// nothing came before it, since the peer may not speak iSCSI at all.
func (c *conn) notALogin(m *iscsi.Login, first bool) error {
	op := c.in.h.Opcode()
	if !first {
		resp := m.Refuse(iscsi.LoginResponse{ITT: c.in.h.ITT(), StatSN: m.StatSN(), ExpCmdSN: m.CmdSN()}, iscsi.LoginInvalidRequest)
		c.answerLogin(&resp, nil, m)
	}
	return fmt.Errorf("%w: a %v PDU came during the login", errLoginFailed, op)
}

// answerLogin queues a Login Response. Digests and lengths that were agreed on
// hold for everything that follows the last one.
func (c *conn) answerLogin(resp *iscsi.LoginResponse, text []byte, m *iscsi.Login) {
	k := newControl()
	resp.Put(&k.h)
	if resp.DataLen > 0 {
		k.data = bufpool.Get(len(text))
		copy(k.data.B, text)
	}
	k.backlog = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.win = newWindow(resp.ExpCmdSN, c.srv.cfg.Window)
	if m.Done() {
		c.win = newWindow(m.CmdSN(), c.srv.cfg.Window)
		k.then = new(c.params)
		c.answered = true
	}
	c.enqueue(k)
}

// identify asks the directory about the initiator, once per login.
func (c *conn) identify(id iscsi.Identity) ([]san.CHAP, iscsi.LoginStatus) {
	c.identity = id
	c.log = c.log.With("initiator", id.Initiator.Name)
	c.announce() // before the directory is asked: see Server.Drop
	if id.Discovery {
		accounts, err := c.srv.dir.Discovery(id.Initiator.Name, c.peer.Addr())
		return accounts, c.status(err)
	}
	c.log = c.log.With("target", id.Target)
	g, err := c.srv.dir.Login(id.Initiator.Name, c.peer.Addr(), id.Target)
	if err != nil {
		return nil, c.status(err)
	}
	c.grant = g
	c.announce()
	return g.Accounts, iscsi.LoginSuccess
}

// announce lets Server.Drop know of a login under way. What was withdrawn
// after the directory granted it finds the login there; what was withdrawn
// before was not granted.
func (c *conn) announce() {
	i := c.describe()
	i.Login = true
	c.mu.Lock()
	c.info = i
	c.mu.Unlock()
}

// status maps an error of the directory to a login status.
func (c *conn) status(err error) iscsi.LoginStatus {
	switch {
	case err == nil:
		return iscsi.LoginSuccess
	case errors.Is(err, ErrNotFound):
		return iscsi.LoginNotFound
	case errors.Is(err, ErrForbidden):
		return iscsi.LoginForbidden
	}
	c.log.Warn("a login could not be looked up", "err", err)
	return iscsi.LoginUnavailable
}

// establish makes the session, once the initiator is who it says. A session of
// the same nexus ends before it (session reinstatement, RFC 7143 §6.3.5), its
// tasks included (DESIGN R4 e).
func (c *conn) establish(m *iscsi.Login, resp *iscsi.LoginResponse) iscsi.LoginStatus {
	id := m.Identity()
	if id.TSIH != 0 {
		// A connection for a session that is there, or a session to be continued:
		// there is one connection a session, and nothing is kept of those that
		// ended.
		if c.srv.reg.has(id.TSIH, c.nexusID()) {
			return iscsi.LoginTooManyConns
		}
		return iscsi.LoginNoSession
	}
	if !id.Discovery {
		c.awaitGone()
	}
	if status := c.register(); status != iscsi.LoginSuccess {
		return status
	}
	if !id.Discovery {
		n, err := c.grant.Target.Attach(c.nexusID(), c.grant.Host, c)
		if err != nil {
			c.log.Warn("a login was refused", "err", err)
			if errors.Is(err, lun.ErrNexuses) {
				return iscsi.LoginOutOfResources
			}
			return iscsi.LoginTargetError
		}
		c.nexus = n
	}
	c.params = m.Outcome()
	c.cid = id.CID
	c.maxR2Ts = min(int(c.params.MaxOutstandingR2T), maxR2T)
	c.limit = c.params.MaxRecv
	c.text = iscsi.NewTextExchange(&c.params, c.targetRecords)
	c.loginBy = time.Time{}
	c.ping.interval, c.ping.timeout = c.srv.cfg.NopInterval, c.srv.cfg.NopTimeout
	c.ping.next = time.Now().Add(c.ping.interval)
	c.nextTick = time.Time{} // what is due has changed
	resp.TSIH = c.tsih
	c.srv.established(c, m.User())
	if c.srv.reg.ends(id.Discovery) { // Drain did not find the session: it began to look before
		c.end(errShutdown, true)
	}
	return iscsi.LoginSuccess
}

// elsewhere returns where a login is to go that this server, which drains, does
// not take; the zero value where nobody knows. Initiators are spread over what
// there is.
func (c *conn) elsewhere() (to netip.AddrPort) {
	d, ok := c.srv.dir.(Redirector)
	if !ok || c.identity.Discovery || !c.srv.reg.drains() {
		return to
	}
	usable := func(p netip.AddrPort) bool {
		return p.IsValid() && p.Port() != 0 && !p.Addr().IsUnspecified() && p.Addr().Unmap().Is4() == c.peer.Addr().Is4()
	}
	h := fnv.New64a()
	h.Write([]byte(c.identity.Initiator.Name))
	h.Write(c.identity.Initiator.ISID[:])
	var list []netip.AddrPort
	for _, p := range d.Elsewhere(c.identity.Target) {
		if usable(p) {
			list = append(list, netip.AddrPortFrom(p.Addr().Unmap(), p.Port()))
		}
	}
	if len(list) == 0 {
		return to
	}
	return list[h.Sum64()%uint64(len(list))]
}

// register takes the session's name, after it has waited for the end of the
// session that has it.
func (c *conn) register() iscsi.LoginStatus {
	timeout := time.NewTimer(time.Until(c.loginBy))
	defer timeout.Stop()
	for {
		old, status := c.srv.reg.add(c)
		if old == nil {
			return status
		}
		old.end(errReinstated, false)
		select {
		case <-old.done:
		case <-timeout.C:
			c.log.Warn("a login was refused: the tasks of the session it replaces did not end in time; the store may be slow")
			return iscsi.LoginUnavailable
		case <-c.quit:
			return iscsi.LoginUnavailable
		}
	}
}

// goneTime is how long a login waits for sessions that the initiator has left.
const goneTime = time.Second

// awaitGone waits for the end of sessions of other names that the initiator has
// left by closing their connections, which may not have noticed yet: it need not
// meet what it held itself a moment ago, by RESERVE(6) or PREVENT ALLOW MEDIUM
// REMOVAL.
func (c *conn) awaitGone() {
	limit := time.NewTimer(goneTime)
	defer limit.Stop()
	for _, old := range c.srv.reg.of(c.identity.Initiator.Name) {
		if !old.sock.hungUp() {
			continue
		}
		select {
		case <-old.done:
		case <-limit.C:
			return
		case <-c.quit:
			return
		}
	}
}

// nexusID names the nexus that the login asks for.
func (c *conn) nexusID() san.NexusID {
	return san.NexusID{
		Initiator: c.identity.Initiator,
		Target:    san.TargetPort{Name: c.identity.Target, TPG: c.tpg},
	}
}

// limits is the server's side of the negotiation.
func (s *Server) limits() iscsi.Limits {
	l := iscsi.DefaultLimits()
	l.InitialR2T = s.cfg.InitialR2T
	l.ImmediateData = !s.cfg.NoImmediateData
	l.MaxRecv = s.cfg.MaxRecvDataSegment
	l.FirstBurstLength = uint32(s.cfg.FirstBurst)
	l.MaxBurstLength = uint32(s.cfg.MaxBurst)
	l.MaxOutstandingR2T = uint16(s.cfg.OutstandingR2T)
	l.HeaderDigest = slices.Clone(l.HeaderDigest)
	return l
}
