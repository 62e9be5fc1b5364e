package multipath

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/initiator"
	"sango/internal/iscsi"
	"sango/internal/san"
	"sango/internal/scsi"
)

// session is what the device needs of an *initiator.Session.
type session interface {
	Submit(c *initiator.Command)
	Do(ctx context.Context, c *initiator.Command) error
	Drop(reason error)
	Instance() (i san.Instance, noted bool)
	TPG() (tag san.TPG, ok bool)
}

// keeper is what the device needs of an *initiator.Keeper.
type keeper interface {
	Start()
	Stop()
	Retry()
}

// keepSession is the keeper of real sessions.
func keepSession(cfg initiator.Config, up func(session), down func(session, error), failed func(error)) keeper {
	k := initiator.NewKeeper(cfg, func(s *initiator.Session) { up(s) }, func(s *initiator.Session, err error) { down(s, err) })
	k.Failed = failed
	return k
}

// maxPaths bounds the paths of a device in its whole life: a path number is
// never used again. Each has a range of login numbers of its own.
const (
	maxPaths   = 256
	loginShift = 24
)

// portal is a path as the runtime sees it.
type portal struct {
	d      *Device
	id     pathID
	url    initiator.URL // where, and as whom
	lun    [8]byte
	given  bool // by Config.URLs
	keep   keeper
	stop   sync.Once
	live   atomic.Pointer[live]
	refuse atomic.Bool   // the last login was refused for good
	leaves atomic.Uint32 // the login of the last session that drains

	seen atomic.Pointer[facts] // what the last probe found

	commands, bytes atomic.Uint64 // since Open
}

// live is a session of a path.
type live struct {
	session
	login uint32
	up    time.Time
}

// addPath makes a path to the portal of u, unless there is one. given says that
// it comes from the configuration.
func (d *Device) addPath(u initiator.URL, given bool) {
	d.pathMu.Lock()
	defer d.pathMu.Unlock()
	if d.stopping.Load() {
		return
	}
	for _, p := range d.all() {
		if p.url.Host == u.Host && p.url.Target == u.Target {
			return
		}
	}
	if d.nextPath == maxPaths {
		d.log.Warn("portal is not used: the attachment has had too many, start it anew", "portal", u.Host, "limit", maxPaths)
		return
	}
	p := &portal{d: d, id: pathID(d.nextPath + 1), url: u, lun: u.LUN.Field(), given: given}
	d.nextPath++
	p.keep = d.cfg.keep(d.login(p), p.up, p.down, p.failed)
	d.paths[p.id-1].Store(p)
	d.step(event{kind: evAdd, path: p.id, text: u.Host})
	p.keep.Start()
}

// login is how the sessions of p are made.
func (d *Device) login(p *portal) initiator.Config {
	c := d.dialing(p.url)
	c.Target = p.url.Target
	c.Initiator.ISID = d.isid(p)
	c.Instance = san.Instance{Group: d.cfg.Group, Run: d.cfg.Run, Login: uint32(p.id-1)<<loginShift + 1}
	c.Follow = func(to string) bool { return !d.knows(to, p) }
	return c
}

// knows reports whether a path other than p leads to a portal of its target. A
// login that is sent on there is not to follow: it would only be a second
// session to the same gateway, and missing where it belongs when that is back.
func (d *Device) knows(host string, p *portal) bool {
	return slices.ContainsFunc(d.all(), func(o *portal) bool { return o != p && o.url.Host == host && o.url.Target == p.url.Target })
}

// dialing is what discovery sessions share with those of paths.
func (d *Device) dialing(u initiator.URL) initiator.Config {
	c := initiator.Config{
		Initiator: san.InitiatorPort{Name: d.cfg.Initiator}, Alias: d.cfg.Alias, Portal: u.Host,
		Algorithms: d.cfg.Algorithms, Offers: d.cfg.Offers, LoginTimeout: d.cfg.LoginTimeout,
		PingInterval: d.cfg.PingInterval, PingTimeout: d.cfg.PingTimeout, ManageTimeout: d.cfg.LoginTimeout, QueueDepth: d.cfg.QueueDepth,
		Dial: d.cfg.Dial, Logger: d.log, Event: d.async,
	}
	if u.User != "" || d.cfg.MutualUser != "" {
		c.CHAP = &san.CHAP{User: u.User, Secret: u.Secret, MutualUser: d.cfg.MutualUser, MutualSecret: d.cfg.MutualSecret}
	}
	return c
}

// isid is an ISID of the random type (RFC 7143 §11.12.5) that stays the same
// for a group and a portal: a target sees the same initiator port again after a
// restart. No two paths share one, since they may lead to the same port.
func (d *Device) isid(p *portal) san.ISID {
	h := fnv.New64a()
	var g [8]byte
	for i := range g {
		g[i] = byte(d.cfg.Group >> (8 * i))
	}
	h.Write(g[:])
	h.Write([]byte(p.url.Target))
	base := h.Sum64()
	h.Write([]byte(p.url.Host))
	q := uint16(h.Sum64())
	for d.isids[q] {
		q++
	}
	d.isids[q] = true
	return san.ISID{0x80, byte(base >> 16), byte(base >> 8), byte(base), byte(q >> 8), byte(q)}
}

// all returns the paths in the order in which they were found.
func (d *Device) all() []*portal {
	var list []*portal
	for i := range d.paths {
		if p := d.paths[i].Load(); p != nil {
			list = append(list, p)
		}
	}
	return list
}

// path returns the path of id, nil when it is gone.
func (d *Device) path(id pathID) *portal {
	if id == 0 || id > maxPaths {
		return nil
	}
	return d.paths[id-1].Load()
}

// up is called by the keeper with each new session.
func (p *portal) up(s session) {
	i, noted := s.Instance()
	p.refuse.Store(false)
	p.live.Store(&live{session: s, login: i.Login, up: time.Now()})
	p.d.log.Info("path has a session", "portal", p.url.Host, "instance", i)
	p.d.step(event{kind: evLogin, path: p.id, login: i.Login, named: noted})
	if p.leaves.Load() == i.Login { // it was told before the engine knew the session
		p.draining(i.Login)
	}
	// What kept this portal away may have kept the others away too.
	for _, o := range p.d.all() {
		if o != p && o.live.Load() == nil {
			o.keep.Retry()
		}
	}
}

// draining notes that the target is about to end a session of p.
func (p *portal) draining(login uint32) {
	p.leaves.Store(login)
	p.d.step(event{kind: evDraining, path: p.id, login: login})
}

// down is called by the keeper when a session has ended.
func (p *portal) down(s session, err error) {
	i, _ := s.Instance()
	if l := p.live.Load(); l != nil && l.login == i.Login {
		p.live.Store(nil)
	}
	level := slog.LevelWarn
	if errors.Is(err, initiator.ErrClosed) {
		level = slog.LevelDebug // at our own wish
	}
	p.d.log.Log(p.d.ctx, level, "path lost its session", "portal", p.url.Host, "instance", i, "error", err)
	p.d.step(event{kind: evLost, path: p.id, login: i.Login, err: err})
}

// failed is called by the keeper when a login has failed.
func (p *portal) failed(err error) {
	p.refuse.Store(refusedLogin(err))
	p.d.step(event{kind: evLoginFailed, path: p.id, err: err})
	p.d.notify()
}

// halt stops the keeper once, in the background, which logs out.
func (p *portal) halt() {
	p.stop.Do(func() { p.d.background(p.keep.Stop) })
}

// session returns the session of p of that login, nil when it has ended.
func (p *portal) session(login uint32) *live {
	if p == nil {
		return nil
	}
	if l := p.live.Load(); l != nil && l.login == login {
		return l
	}
	return nil
}

// asker returns what sends commands of the control path down l.
func (p *portal) asker(l *live) *asker {
	return &asker{s: l, lun: p.lun, attention: func(asc scsi.ASC) {
		p.d.noticed(asc)
		p.d.step(event{kind: evAttention, path: p.id, login: l.login, asc: asc})
	}, deferred: func(err error) { p.d.step(event{kind: evDeferred, err: err}) }}
}

// async takes the asynchronous messages of all sessions.
func (d *Device) async(s *initiator.Session, a iscsi.Async, sense []byte) {
	i, _ := s.Instance()
	p := d.path(pathID(i.Login>>loginShift) + 1)
	switch a.Event {
	case iscsi.AsyncSCSI:
	case iscsi.AsyncLogout, iscsi.AsyncDrop, iscsi.AsyncDropSession:
		if p != nil {
			p.draining(i.Login)
		}
		return
	default:
		return
	}
	v, err := scsi.ParseSense(sense)
	if err != nil || v.Key != scsi.UnitAttention {
		return
	}
	d.noticed(v.ASC)
	if p != nil {
		d.step(event{kind: evAttention, path: p.id, login: i.Login, asc: v.ASC})
	}
}

// noticed does what a unit attention asks of the runtime itself; the engine
// hears of it too.
func (d *Device) noticed(asc scsi.ASC) {
	d.stat.attentions.Add(1)
	switch asc {
	case scsi.ASCReportedLUNsChanged:
		kick(d.rediscover)
	case scsi.ASCParametersChanged, scsi.ASCModeParametersChanged, scsi.ASCInquiryDataChanged, scsi.ASCCapacityChanged:
		kick(d.refresh)
	}
}

// kick puts a token into c unless there is one.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
