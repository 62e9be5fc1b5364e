package gateway

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/v2"
	"sigs.k8s.io/yaml"

	"sango/internal/block/layered/vfs"
	"sango/internal/meta"
	"sango/internal/san"
	"sango/internal/target"
)

// Config is what a node needs to know of itself. All else is in the metadata.
type Config struct {
	Name    string   // of the gateway, unique in the cluster
	Dir     string   // holds everything
	Portals []Portal // where it serves
	Version string   // of the program, for status
	Demo    bool     // it is a demo, and refuses the directory of another gateway
	Log     *slog.Logger
	Limits  Limits
	Meta    meta.Options  // where the metadata is kept; its Log is not looked at
	ISCSI   target.Config // zero fields are its defaults; those that Limits has too are taken from there
	Cluster Cluster       // what concerns serving beside other gateways
	// Each makes one gateway of each portal, all in this process, where there are
	// several. Their names are Name-1, Name-2, ...
	Each    bool
	several bool // it is of one of those

	// workLook is how often the work of volumes is looked at. 0: every ten seconds.
	workLook time.Duration
	fs       vfs.FS // of the volumes; nil: the machine's
}

// Limits bound what a node takes; zero fields are the defaults of the packages
// that keep them.
type Limits struct {
	Connections      int   // in all
	SessionsPerHost  int   // of one initiator name
	Logins           int   // connections that log in or are discovery sessions
	LoginsPerAddress int   // of those, from one address
	Memory           int64 // bytes of task data in all
	HostMemory       int64 // bytes of task data of one initiator name
	ConnectionMemory int64 // bytes of task data of one connection
	Background       int64 // bytes a second of background work, a volume
	MemVolume        int64 // bytes of memory that one mem volume may take; 0: its size
}

// Portal is one address to serve on.
type Portal struct {
	// Name is the portal's identity: under the same name it keeps its target
	// port id, whatever its address. Empty: its listen address.
	Name string `koanf:"name"`
	// Listen is ip:port to bind; port 0 takes a free one.
	Listen string `koanf:"listen"`
	// Advertise is the ip:port that hosts are told in discovery, where that
	// differs (NAT, port forwarding). Empty: the listen address, and where that
	// is a wildcard, the address that the host connected to.
	Advertise string `koanf:"advertise"`
}

// fileConfig is the configuration file of 'sango gateway run'.
type fileConfig struct {
	Name    string   `koanf:"name"`
	Dir     string   `koanf:"dir"`
	Portals []Portal `koanf:"portals"`
	Log     string   `koanf:"log"`
	Limits  struct {
		Connections      int    `koanf:"connections"`
		SessionsPerHost  int    `koanf:"sessions_per_host"`
		Logins           int    `koanf:"logins"`
		LoginsPerAddress int    `koanf:"logins_per_address"`
		Memory           string `koanf:"memory"`
		HostMemory       string `koanf:"host_memory"`
		ConnectionMemory string `koanf:"connection_memory"`
		Background       string `koanf:"background"`
		MemVolume        string `koanf:"mem_volume"`
	} `koanf:"limits"`
	ISCSI   fileISCSI    `koanf:"iscsi"`
	Cluster *fileCluster `koanf:"cluster"`
	Etcd    *fileEtcd    `koanf:"etcd"`
	Volumes string       `koanf:"volumes"`
	Relay   fileRelay    `koanf:"relay"`
	TTL     string       `koanf:"ttl"`
	Through bool         `koanf:"write_through"`
	Fence   []string     `koanf:"fence"`
}

// limits reads the limits of the file.
func (f *fileConfig) limits() (l Limits, err error) {
	l.Connections, l.SessionsPerHost = f.Limits.Connections, f.Limits.SessionsPerHost
	l.Logins, l.LoginsPerAddress = f.Limits.Logins, f.Limits.LoginsPerAddress
	if min(l.Connections, l.SessionsPerHost, l.Logins, l.LoginsPerAddress) < 0 {
		return l, san.Errorf(san.ErrInvalid, "a limit can't be negative; leave it out for the default")
	}
	for _, x := range []struct {
		text string
		to   *int64
	}{{f.Limits.Memory, &l.Memory}, {f.Limits.HostMemory, &l.HostMemory}, {f.Limits.ConnectionMemory, &l.ConnectionMemory}, {f.Limits.Background, &l.Background}, {f.Limits.MemVolume, &l.MemVolume}} {
		if x.text == "" {
			continue
		}
		if *x.to, err = san.ParseSize(x.text); err != nil {
			return l, err
		}
	}
	return l, nil
}

// ReadConfig reads a configuration file in YAML or JSON:
//
//	name: gw1
//	dir: /var/lib/sango
//	log: info                  # debug, info, warn or error
//	portals:
//	  - listen: 10.0.0.1:3260
//	  - name: b
//	    listen: 0.0.0.0:3261
//	    advertise: 192.0.2.7:3261
//	limits:                    # each may be left out
//	  connections: 1024
//	  sessions_per_host: 64
//	  logins: 256              # connections that log in, or only discover
//	  logins_per_address: 64   # of those, from one address
//	  memory: 2G               # task data in all
//	  host_memory: 1G          # task data of one initiator name
//	  connection_memory: 256M  # task data of one connection
//	  background: 200M         # merge, sanitize and copy, bytes a second and volume
//	  mem_volume: 4G           # memory of one mem volume
//	iscsi:                     # each may be left out
//	  nop_interval: 1s         # between two pings of a connection
//	  nop_timeout: 3500ms      # for the answer; both together are 3s to 5s
//	  max_age: 3s              # a command older than that is not executed
//	  login_timeout: 15s
//	  drain_time: 5s           # for initiators to log out when the node stops
//	  window: 128              # commands that a session may have outstanding
//	  max_recv_data_segment: 256K
//	  first_burst: 256K
//	  max_burst: 1M
//	  outstanding_r2t: 8
//	  immediate_data: true
//	  initial_r2t: false       # true: no unsolicited data but immediate data
//	  discovery_chap: false    # true: no discovery without CHAP
//	cluster:                   # the metadata is one member of a cluster; else it is alone in dir
//	  peer: 10.0.0.1:2380      # that the other members reach
//	  client: 10.0.0.1:2379    # for nodes that keep no member; may be left out
//	  members: [gw1=10.0.0.1:2380, gw2=10.0.0.2:2380, gw3=10.0.0.3:2380] # at the first start
//	  join: true               # 'sango cluster add' on another node made room for it
//	  ca: ca.pem               # with cert and key: members show each other certificates
//	  cert: gw1.pem
//	  key: gw1.key
//	  insecure: false          # true: no certificates beyond loopback
//	  tick: 20ms               # between heartbeats of members
//	  election: 200ms          # silence of the leader after which another is elected
//	etcd:                      # the metadata is in an etcd that others run
//	  endpoints: [https://10.0.0.9:2379]
//	  ca: ca.pem               # and cert, key where it asks for them
//	  user: sango              # with password_file, where it asks for them
//	  password_file: etcd.password
//	  insecure: false          # true: http beyond loopback
//	volumes: /mnt/volumes      # directory of the volumes, which all gateways of a cluster share; else it is in dir
//	write_through: false       # true: every write is on the disk before it is answered; needed where
//	                           # gateways of several machines share the volumes
//	relay:                     # where other gateways of a cluster reach this one; may be left out
//	  listen: 10.0.0.1:3262    # for tasks of hosts; else the address of the first portal, this port
//	  manage: 10.0.0.1:3263    # for management; else the address of relay, the next port
//	  advertise: 192.0.2.7:3262 # where they reach it by another address; and advertise_manage
//	  ca: ca.pem               # with cert and key: gateways show each other certificates; else those of cluster
//	  insecure: false          # true: no certificates beyond loopback; else as in cluster
//	ttl: 3s                    # how long a heartbeat of a gateway counts
//	fence: [/usr/local/sbin/power-off] # turns off a gateway that is to be dead ($SANGO_FENCE_GATEWAY)
//
// It returns the configuration and the level of the log. Unknown settings are
// errors.
func ReadConfig(path string) (Config, slog.Level, error) {
	return readConfigFile(path, (*Config).check)
}

// ReadWitnessConfig is ReadConfig for a witness, which has no portals.
func ReadWitnessConfig(path string) (Config, slog.Level, error) {
	return readConfigFile(path, (*Config).checkWitness)
}

// ReadNodeConfig is ReadConfig for commands to which it does not matter what
// kind of node it is.
func ReadNodeConfig(path string) (Config, slog.Level, error) {
	return readConfigFile(path, (*Config).checkNode)
}

func readConfigFile(path string, check func(*Config) error) (Config, slog.Level, error) {
	var level slog.Level
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, level, san.Errorf(san.ErrInvalid, "configuration: %v", err)
	}
	k := koanf.New(".")
	if err := k.Load(rawYAML(raw), nil); err != nil {
		return Config{}, level, san.Errorf(san.ErrInvalid, "configuration %s: %v", path, err)
	}
	f := fileConfig{Log: "info"}
	if err := k.UnmarshalWithConf("", &f, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		TagName: "koanf", ErrorUnused: true, WeaklyTypedInput: true,
	}}); err != nil {
		return Config{}, level, san.Errorf(san.ErrInvalid, "configuration %s: %s", path, unknownSettings(err))
	}
	if err := level.UnmarshalText([]byte(f.Log)); err != nil {
		return Config{}, level, san.Errorf(san.ErrInvalid, "configuration %s: log level %q is unknown; use debug, info, warn or error", path, f.Log)
	}
	if f.Name == "" {
		if f.Name, err = os.Hostname(); err != nil {
			return Config{}, level, san.Errorf(san.ErrInvalid, "configuration %s: set name, because this machine tells none: %v", path, err)
		}
	}
	if f.Dir == "" {
		return Config{}, level, san.Errorf(san.ErrInvalid, "configuration %s: set dir to the directory that holds everything", path)
	}
	c := Config{Name: f.Name, Dir: f.Dir, Portals: f.Portals}
	if c.Limits, err = f.limits(); err == nil {
		c.ISCSI, err = f.ISCSI.config()
	}
	if err == nil {
		c.Meta, err = f.metadata()
	}
	if err == nil {
		c.Cluster, err = f.cluster()
	}
	if err == nil {
		err = check(&c)
	}
	if err != nil {
		return Config{}, level, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, level, nil
}

var invalidKeys = regexp.MustCompile(`'([^']*)' has invalid keys: ([^\n]*)`)

var wrongKinds = regexp.MustCompile(`'([^']*)' expected a map(?: or struct)?, got "[^"]*"`)

// unknownSettings tells what was wrong with a configuration in words that are
// not those of the library that read it.
func unknownSettings(err error) string {
	text := invalidKeys.ReplaceAllStringFunc(err.Error(), func(s string) string {
		m := invalidKeys.FindStringSubmatch(s)
		in := ""
		if m[1] != "" {
			in = " in " + m[1]
		}
		return fmt.Sprintf("unknown setting%s: %s; 'sango gateway run --help' lists those there are", in, m[2])
	})
	_, rest, ok := strings.Cut(text, "error(s):\n\n")
	if ok {
		text = rest
	}
	text = wrongKinds.ReplaceAllStringFunc(text, func(s string) string {
		m := wrongKinds.FindStringSubmatch(s)
		if strings.HasPrefix(m[1], "portals") {
			return m[1] + ": write a portal as {listen: IP:PORT}, not as text alone"
		}
		return m[1] + ": write it with settings of its own (name: value), not as text alone"
	})
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
}

// rawYAML is a koanf provider of one document; JSON is YAML too.
type rawYAML []byte

func (r rawYAML) ReadBytes() ([]byte, error) { return r, nil }

func (r rawYAML) Read() (map[string]any, error) {
	m := map[string]any{}
	return m, yaml.UnmarshalStrict(r, &m)
}

// checkNode completes what every node has, and says what is wrong with it.
func (c *Config) checkNode() error {
	if err := san.CheckName("gateway", c.Name); err != nil {
		return err
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("directory %s: %w", c.Dir, err)
	}
	c.Dir = dir
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c.Meta.Check()
}

// check completes the configuration and says what is wrong with it.
func (c *Config) check() error {
	if err := c.checkNode(); err != nil {
		return err
	}
	if len(c.Portals) == 0 {
		return san.Errorf(san.ErrInvalid, "no portal is given; say where to listen, such as 127.0.0.1:3260")
	}
	if err := c.checkISCSI(); err != nil {
		return err
	}
	names := map[string]bool{}
	for i := range c.Portals {
		p := &c.Portals[i]
		if err := CheckAddr(p.Listen, true); err != nil {
			return err
		}
		if p.Advertise != "" {
			if err := CheckAddr(p.Advertise, false); err != nil {
				return err
			}
		}
		if p.Name == "" {
			if _, port, _ := net.SplitHostPort(p.Listen); port == "0" {
				return san.Errorf(san.ErrInvalid, "portal %s: give it a name or a port other than 0, because its target port id belongs to one of them", p.Listen)
			}
			p.Name = p.Listen
		}
		if names[p.Name] {
			return san.Errorf(san.ErrInvalid, "portal %s is there twice", p.Name)
		}
		names[p.Name] = true
	}
	return c.checkCluster()
}

// CheckAddr checks an address of the form ip:port or [ip6]:port. Port 0 is for
// listening only.
func CheckAddr(s string, listen bool) error {
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	switch {
	case err != nil || perr != nil || host == "" && !listen:
		return san.Errorf(san.ErrInvalid, "address %q: write it as IP:PORT, such as 127.0.0.1:3260 or [::1]:3260", s)
	case n == 0 && !listen:
		return san.Errorf(san.ErrInvalid, "address %q: hosts can't be told port 0; name the port they are to connect to", s)
	}
	return nil
}
