package multipath

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"sango/internal/initiator"
)

// discoverAll asks for portals at the start, at an interval, and when the
// target says that something has changed.
func (d *Device) discoverAll() {
	t := time.NewTicker(d.cfg.Rediscover)
	defer t.Stop()
	for {
		d.discover()
		select {
		case <-t.C:
		case <-d.rediscover:
		case <-d.ctx.Done():
			return
		}
	}
}

// discover asks every given portal for the portals of its target, and makes
// paths of those that are new. A path that nobody names any more, and that has
// no session, is removed.
func (d *Device) discover() {
	type answer struct {
		url   initiator.URL
		hosts []string
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards found
	var found []answer
	for _, u := range d.cfg.URLs {
		wg.Go(func() {
			hosts, err := d.portals(u)
			if err != nil {
				if d.ctx.Err() == nil {
					d.log.Warn("portal does not answer the discovery", "portal", u.Host, "error", err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			found = append(found, answer{u, hosts})
		})
	}
	wg.Wait()
	named := map[string]bool{} // target and portal
	for _, a := range found {
		for _, h := range a.hosts {
			named[a.url.Target+" "+h] = true
			u := a.url
			u.Host = h
			if !d.isGiven(u) {
				d.addPath(u, false)
			}
		}
	}
	if len(found) < len(d.cfg.URLs) {
		return // those who were silent might have named it
	}
	for _, p := range d.all() {
		if !p.given && p.live.Load() == nil && !named[p.url.Target+" "+p.url.Host] {
			d.step(event{kind: evRemove, path: p.id})
		}
	}
}

// portals asks one portal by SendTargets where its target is.
func (d *Device) portals(u initiator.URL) ([]string, error) {
	c := d.dialing(u)
	c.Target, c.Event = u.Target, nil
	c.Initiator.ISID = initiator.NewISID()
	ctx, cancel := context.WithTimeout(d.ctx, d.cfg.LoginTimeout)
	defer cancel()
	records, err := initiator.Discover(ctx, c)
	if err != nil {
		return nil, err
	}
	var hosts []string
	for _, r := range records {
		if strings.EqualFold(r.Name, u.Target) {
			for _, a := range r.Addresses {
				hosts = append(hosts, a.Addr)
			}
		}
	}
	return hosts, nil
}

// isGiven reports whether a given URL leads to the portal of u, also by another
// name of the same address.
func (d *Device) isGiven(u initiator.URL) bool {
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return false
	}
	for _, g := range d.cfg.URLs {
		if g.Target != u.Target {
			continue
		}
		if g.Host == u.Host {
			return true
		}
		name, gport, err := net.SplitHostPort(g.Host)
		if err != nil || gport != port || net.ParseIP(name) != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(d.ctx, d.cfg.LoginTimeout)
		addrs, err := net.DefaultResolver.LookupHost(ctx, name)
		cancel()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if a == host {
				return true
			}
		}
	}
	return false
}
