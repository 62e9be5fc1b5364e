package gateway

import (
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"sango/internal/certs"
	"sango/internal/meta"
	"sango/internal/san"
)

// Cluster is what a gateway needs to know that serves beside others.
type Cluster struct {
	// Volumes is the directory of the layered volumes. All gateways of a cluster
	// share it. Empty: in Config.Dir.
	Volumes string
	// Relay and Manage are where other gateways reach this one: ip:port to
	// listen on, and what they are told where that differs.
	Relay, Manage                   string
	AdvertiseRelay, AdvertiseManage string
	// TLS are the certificate of this gateway and the authority of all of them.
	TLS      meta.TLS
	Insecure bool // without certificates beyond loopback
	// TTL is how long a heartbeat counts (DESIGN R3).
	TTL time.Duration
	// Through has every write be stable before it is answered: where gateways of
	// several machines share the volumes.
	Through bool
	// Fence is the operator's command that turns a gateway off.
	Fence []string
}

// The ports between gateways, unless told.
const (
	relayPort  = "3262"
	managePort = 3263
)

// Bounds of Cluster.TTL. Hosts give up before a longer one.
const (
	defaultTTL = 3 * time.Second
	minTTL     = 500 * time.Millisecond
	maxTTL     = 10 * time.Second
)

// fileRelay is the part relay of the configuration file.
type fileRelay struct {
	fileTLS         `koanf:",squash"`
	Listen          string `koanf:"listen"`
	Manage          string `koanf:"manage"`
	Advertise       string `koanf:"advertise"`
	AdvertiseManage string `koanf:"advertise_manage"`
	Insecure        bool   `koanf:"insecure"`
}

// cluster reads what concerns serving beside other gateways.
func (f *fileConfig) cluster() (c Cluster, err error) {
	c = Cluster{
		Relay: f.Relay.Listen, Manage: f.Relay.Manage, AdvertiseRelay: f.Relay.Advertise, AdvertiseManage: f.Relay.AdvertiseManage,
		Insecure: f.Relay.Insecure, Fence: f.Fence, Through: f.Through,
	}
	if f.Volumes != "" {
		if c.Volumes, err = filepath.Abs(f.Volumes); err != nil {
			return c, err
		}
	}
	if c.TLS, err = f.Relay.tls(); err != nil {
		return c, err
	}
	if f.Cluster != nil {
		c.Insecure = c.Insecure || f.Cluster.Insecure
		if c.TLS == (meta.TLS{}) {
			if c.TLS, err = f.Cluster.tls(); err != nil {
				return c, err
			}
		}
	}
	if f.TTL != "" {
		if c.TTL, err = time.ParseDuration(f.TTL); err != nil || c.TTL < minTTL || c.TTL > maxTTL {
			return c, san.Errorf(san.ErrInvalid, "ttl %q: set it between %v and %v", f.TTL, minTTL, maxTTL)
		}
	}
	return c, nil
}

// clustered reports whether the node's gateways serve beside others.
func (c *Config) clustered() bool {
	return c.Meta.Member != nil || c.Meta.External != nil || c.several || c.Each && len(c.Portals) > 1
}

// alone reports whether all the gateways of the cluster are in this process.
func (c *Config) alone() bool { return c.Meta.Member == nil && c.Meta.External == nil }

// each returns the configurations of the gateways of the node.
func (c *Config) each() []Config {
	if !c.Each || len(c.Portals) < 2 {
		return []Config{*c}
	}
	var all []Config
	for i, p := range c.Portals {
		g := *c
		g.Name, g.Portals, g.several = c.Name+"-"+strconv.Itoa(i+1), []Portal{p}, true
		all = append(all, g)
	}
	return all
}

// checkCluster completes what concerns serving beside other gateways, and says
// what is wrong with it.
func (c *Config) checkCluster() error {
	k := &c.Cluster
	if k.Volumes == "" {
		k.Volumes = filepath.Join(c.Dir, volumesName)
	}
	if !c.clustered() {
		return nil
	}
	if err := k.checkFence(); err != nil {
		return err
	}
	if k.TTL == 0 && !c.alone() {
		k.TTL = defaultTTL
	}
	host, _, _ := net.SplitHostPort(c.Portals[0].Listen)
	if c.alone() {
		k.Relay, k.Manage, host = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"
	}
	if k.Relay == "" {
		k.Relay = net.JoinHostPort(host, relayPort)
		if loopback(k.Relay) { // for this machine alone, which may have several
			k.Relay = net.JoinHostPort(host, "0")
		}
	}
	if err := CheckAddr(k.Relay, true); err != nil {
		return err
	}
	if k.Manage == "" {
		host, port, _ := net.SplitHostPort(k.Relay)
		next := "0"
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n != 0 {
			next = strconv.FormatUint(min(n+1, 65535), 10)
		}
		if port == relayPort {
			next = strconv.Itoa(managePort)
		}
		k.Manage = net.JoinHostPort(host, next)
	}
	if err := CheckAddr(k.Manage, true); err != nil {
		return err
	}
	for _, x := range []struct{ what, listen, advertise string }{
		{"relay: advertise", k.Relay, k.AdvertiseRelay}, {"relay: advertise_manage", k.Manage, k.AdvertiseManage},
	} {
		if x.advertise != "" {
			if err := CheckAddr(x.advertise, false); err != nil {
				return err
			}
			continue
		}
		host, _, _ := net.SplitHostPort(x.listen)
		if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
			return san.Errorf(san.ErrInvalid, "other gateways can't be told to go to %s: name the address by which they reach this one as %s", x.listen, x.what)
		}
		if k.TLS == (meta.TLS{}) && !k.Insecure && !loopback(x.listen) {
			return san.Errorf(san.ErrInvalid, "relay: gateways that reach each other by a network need certificates: set ca, cert and key there, or insecure: true where nobody else reaches %s", x.listen)
		}
	}
	if err := c.checkPorts(); err != nil {
		return err
	}
	return c.checkTLS()
}

// checkPorts refuses a port that the gateway would have to have twice.
func (c *Config) checkPorts() error {
	type place struct{ what, addr string }
	var all []place
	for _, p := range c.Portals {
		all = append(all, place{"a portal", p.Listen})
	}
	all = append(all, place{"relay: listen", c.Cluster.Relay}, place{"relay: manage", c.Cluster.Manage})
	if m := c.Meta.Member; m != nil {
		all = append(all, place{"cluster: peer", m.Peer}, place{"cluster: client", m.Client})
	}
	for i, a := range all {
		for _, b := range all[:i] {
			if sameSocket(a.addr, b.addr) {
				return san.Errorf(san.ErrInvalid, "%s %s needs the same port as %s %s: choose another one", a.what, a.addr, b.what, b.addr)
			}
		}
	}
	return nil
}

// sameSocket reports whether two addresses to listen on exclude each other.
func sameSocket(a, b string) bool {
	ahost, aport, aerr := net.SplitHostPort(a)
	bhost, bport, berr := net.SplitHostPort(b)
	if aerr != nil || berr != nil || aport != bport || aport == "0" {
		return false
	}
	if ahost == bhost {
		return true
	}
	aip, aerr := netip.ParseAddr(ahost)
	bip, berr := netip.ParseAddr(bhost)
	wide := func(host string, ip netip.Addr, err error) bool {
		return host == "" || err == nil && ip.IsUnspecified() && ip.Is6()
	}
	return wide(ahost, aip, aerr) || wide(bhost, bip, berr) || aerr == nil && berr == nil && aip.Is4() && bip.Is4() && (aip.IsUnspecified() || bip.IsUnspecified())
}

// checkFence refuses a fence command that can't be run: it is needed when there is
// no time to find that out.
func (k *Cluster) checkFence() error {
	if len(k.Fence) == 0 {
		return nil
	}
	if _, err := exec.LookPath(k.Fence[0]); err != nil {
		return san.Errorf(san.ErrInvalid, "fence: %v: name a program that can be run, best by its whole path", err)
	}
	return nil
}

// loopback reports whether an address is of this machine alone.
func loopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// certificates are the files of what gateways show each other.
func (k *Cluster) certificates() certs.Files { return certs.Files(k.TLS) }

// keep returns what gateways show each other, nil for nothing.
func (k *Cluster) keep(log *slog.Logger) (*certs.Kept, error) {
	if k.TLS == (meta.TLS{}) {
		return nil, nil
	}
	return certs.Load(k.certificates(), log)
}

// checkTLS looks at the certificate of the gateway as others will.
func (c *Config) checkTLS() error {
	k := &c.Cluster
	if k.TLS == (meta.TLS{}) {
		return nil
	}
	if k.TLS.CA == "" || k.TLS.Cert == "" || k.TLS.Key == "" {
		return san.Errorf(san.ErrInvalid, "relay: gateways show each other certificates: give ca, cert and key")
	}
	var needs []certs.Need
	for _, told := range [][2]string{{k.AdvertiseRelay, k.Relay}, {k.AdvertiseManage, k.Manage}} {
		addr := told[0]
		if addr == "" {
			addr = told[1]
		}
		host, _, _ := net.SplitHostPort(addr)
		needs = append(needs, certs.Need{What: "other gateways", Any: []string{host, c.Name}})
	}
	return k.certificates().Check(time.Now(), needs...)
}
