package meta

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"sango/internal/certs"
	"sango/internal/san"
)

// Options are how a store is opened. Without Member and External it is one
// embedded etcd member that listens on nothing.
type Options struct {
	Log *slog.Logger // nil: slog.Default()
	// NoSync leaves out fsync: for tests that are not about durability.
	NoSync bool
	// Member makes the embedded etcd a member of a cluster.
	Member *Member
	// External uses an etcd that others run; nothing is embedded then.
	External *External
	// Admits is asked, where others use the store too, before anything of this
	// node takes part in it: shared is the identity of the directory of volumes
	// that its gateways share, zero where none is known. An error ends the start,
	// and a new member gets no vote. Nil: all is well.
	Admits func(shared san.UUID) error

	// Waits is told what the start of a member waits for, when that takes long: a
	// few words, again when they change; and empty when it is over. It is called by
	// one goroutine. Nil: nobody wants to know.
	Waits func(what string)

	schemas *schemas // for tests: nil are those of this program
}

// Member is the configuration of an embedded member of a metadata cluster.
type Member struct {
	Name string `json:"name"` // unique in the cluster
	// Peer is the ip:port that this member listens on for the others, and that
	// they reach it at.
	Peer string `json:"peer"`
	// Client is the ip:port where nodes without a member find the store; empty:
	// they can't.
	Client string `json:"client,omitempty"`
	// Members are all first members as NAME=IP:PORT, this one among them; empty:
	// this one alone. With Join it is all there are now. It matters at the first
	// start in a directory only.
	Members []string `json:"members,omitempty"`
	// Join says that the cluster runs, and this member was added to it.
	Join bool `json:"join,omitempty"`
	TLS  TLS  `json:"tls"`
	// Insecure allows addresses beyond loopback without TLS.
	Insecure bool `json:"insecure,omitempty"`
	// Tick is the interval of heartbeats between members, Election the silence
	// of the leader after which another is elected; 0: 50 ms and 500 ms.
	Tick     time.Duration `json:"tick,omitempty"`
	Election time.Duration `json:"election,omitempty"`
}

// External is an etcd that others run.
type External struct {
	Endpoints []string `json:"endpoints"` // URLs
	TLS       TLS      `json:"tls"`
	User      string   `json:"user,omitempty"` // with PasswordFile: etcd's own authentication
	// PasswordFile holds the password; one line break at its end is not of it.
	PasswordFile string `json:"password_file,omitempty"`
	// Insecure allows addresses beyond loopback without TLS.
	Insecure bool `json:"insecure,omitempty"`
}

// TLS names PEM files. Both sides of a connection between members show their
// certificate, which the CA must have signed; so it must be good for server
// and client, and name the member's address.
type TLS struct {
	CA   string `json:"ca,omitempty"`
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
}

func (t TLS) empty() bool { return t == TLS{} }

// check looks whether the files are there and fit; mutual demands all three.
func (t TLS) check(mutual bool) error {
	if mutual && (t.CA == "" || t.Cert == "" || t.Key == "") {
		return san.Errorf(san.ErrInvalid, "TLS between members is mutual: give ca, cert and key")
	}
	_, err := t.config()
	return err
}

// config reads the files.
func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, san.Errorf(san.ErrInvalid, "TLS: %v", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, san.Errorf(san.ErrInvalid, "TLS: %s holds no certificate in PEM form", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, san.Errorf(san.ErrInvalid, "TLS: cert and key go together")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, san.Errorf(san.ErrInvalid, "TLS: certificate %s with key %s: %v", t.Cert, t.Key, err)
		}
		// As it is at the time: it may be followed by another one.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if next, err := tls.LoadX509KeyPair(t.Cert, t.Key); err == nil {
				return &next, nil
			}
			return &pair, nil
		}
	}
	return c, nil
}

// Check completes the options and says what is wrong with them.
func (o *Options) Check() error {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	switch {
	case o.Member != nil && o.External != nil:
		return san.Errorf(san.ErrInvalid, "metadata is either in a member of this node's own or in an etcd that others run: give one of the settings 'cluster' and 'etcd'")
	case o.Member != nil:
		return o.Member.check()
	case o.External != nil:
		return o.External.check()
	}
	return nil
}

// defaultTick, with an election after ten of them, makes a new leader in about a
// second, with which docs/bench/FAILOVER.md was measured. With less a machine that
// is busy for a moment has leaders change for no reason.
const defaultTick = 50 * time.Millisecond

func (m *Member) check() error {
	if err := san.CheckName("metadata member", m.Name); err != nil {
		return err
	}
	if m.Tick == 0 {
		m.Tick = defaultTick
	}
	if m.Election == 0 {
		m.Election = 10 * m.Tick
	}
	if m.Tick < time.Millisecond || m.Tick > time.Second || m.Election < 5*m.Tick || m.Election > 50*time.Second {
		return san.Errorf(san.ErrInvalid, "metadata cluster: tick %v and election %v: use 1ms to 1s, and 5 ticks to 50s", m.Tick, m.Election)
	}
	addrs := []string{m.Peer}
	if m.Client != "" {
		addrs = append(addrs, m.Client)
	}
	self, others := false, map[string]bool{}
	for _, s := range m.Members {
		name, addr, ok := strings.Cut(s, "=")
		if !ok {
			return san.Errorf(san.ErrInvalid, "metadata member %q: write it as NAME=IP:PORT", s)
		}
		if err := san.CheckName("metadata member", name); err != nil {
			return err
		}
		if others[name] {
			return san.Errorf(san.ErrInvalid, "metadata member %s is there twice", name)
		}
		others[name] = true
		if name == m.Name {
			if self = true; addr != m.Peer {
				return san.Errorf(san.ErrInvalid, "metadata member %s has the peer address %s among the members, and %s for itself", name, addr, m.Peer)
			}
		}
		addrs = append(addrs, addr)
	}
	if len(m.Members) > 0 && !self {
		return san.Errorf(san.ErrInvalid, "metadata member %s is not among the members; list all of them, this one too", m.Name)
	}
	if m.Join && len(m.Members) < 2 {
		return san.Errorf(san.ErrInvalid, "metadata member %s joins a cluster: list its members, as 'sango cluster add' printed them", m.Name)
	}
	local := true
	for _, a := range addrs {
		ap, err := netip.ParseAddrPort(a)
		if err != nil || ap.Port() == 0 || ap.Addr().IsUnspecified() {
			return san.Errorf(san.ErrInvalid, "metadata address %q: write it as IP:PORT, one that the other members reach", a)
		}
		local = local && ap.Addr().IsLoopback()
	}
	if m.TLS.empty() {
		if !local && !m.Insecure {
			return san.Errorf(san.ErrInvalid, "the metadata cluster would be open to everybody on the network: give ca, cert and key, or 'insecure: true' on a network that nobody else reaches")
		}
		return nil
	}
	if err := m.TLS.check(true); err != nil {
		return err
	}
	needs := []certs.Need{{What: "other members", Any: []string{host(m.Peer)}}}
	if m.Client != "" {
		needs = append(needs, certs.Need{What: "nodes without a member", Any: []string{host(m.Client)}})
	}
	return certs.Files(m.TLS).Check(time.Now(), needs...)
}

// host is the IP address of ip:port.
func host(addr string) string {
	h, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return h
}

// url returns the URL of an address of the cluster.
func (m *Member) url(addr string) url.URL {
	if m.TLS.empty() {
		return url.URL{Scheme: "http", Host: addr}
	}
	return url.URL{Scheme: "https", Host: addr}
}

func (x *External) check() error {
	if len(x.Endpoints) == 0 {
		return san.Errorf(san.ErrInvalid, "which etcd? give its addresses as URLs, such as https://192.0.2.1:2379")
	}
	scheme := ""
	for i, e := range x.Endpoints {
		if !strings.Contains(e, "://") {
			if e = "http://" + e; !x.TLS.empty() {
				e = "https" + strings.TrimPrefix(e, "http")
			}
			x.Endpoints[i] = e
		}
		u, err := url.Parse(e)
		if err != nil || u.Port() == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			return san.Errorf(san.ErrInvalid, "etcd address %q: write it as https://HOST:PORT", e)
		}
		if scheme != "" && u.Scheme != scheme {
			return san.Errorf(san.ErrInvalid, "etcd addresses: use https for all of them")
		}
		if scheme = u.Scheme; scheme == "https" || x.Insecure {
			continue
		}
		if a, err := netip.ParseAddr(u.Hostname()); (err != nil || !a.IsLoopback()) && u.Hostname() != "localhost" {
			return san.Errorf(san.ErrInvalid, "etcd address %q: secrets would cross the network in clear: use https, or set 'insecure: true' on a network that nobody else reaches", e)
		}
	}
	if (x.User == "") != (x.PasswordFile == "") {
		return san.Errorf(san.ErrInvalid, "etcd: user and password_file go together")
	}
	if scheme == "http" {
		if !x.TLS.empty() {
			return san.Errorf(san.ErrInvalid, "etcd: with ca, cert or key the addresses are to be https")
		}
		return nil
	}
	return x.TLS.check(false)
}

// password reads the password of etcd's user.
func (x *External) password() (string, error) {
	if x.PasswordFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(x.PasswordFile)
	if err != nil {
		return "", san.Errorf(san.ErrInvalid, "etcd: password file: %v", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}
