package supervise

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/v2"
	"sigs.k8s.io/yaml"

	"sango/internal/attach"
	"sango/internal/multipath"
	"sango/internal/san"
)

// Attachment is one entry of the list. Its fields are the flags of
// 'sango attach'.
type Attachment struct {
	Name             string `koanf:"name"`
	Source           string `koanf:"source"`
	As               string `koanf:"as"`
	Socket           string `koanf:"socket"`
	Listen           string `koanf:"listen"`
	TLSCert          string `koanf:"tls_cert"`
	TLSKey           string `koanf:"tls_key"`
	TLSClients       string `koanf:"tls_clients"`
	Insecure         bool   `koanf:"insecure"`
	Initiator        string `koanf:"initiator"`
	Policy           string `koanf:"policy"`
	QueueTime        string `koanf:"queue_time"` // a duration, or forever
	ReadOnly         bool   `koanf:"read_only"`
	Discover         bool   `koanf:"discover"`
	Queues           int    `koanf:"queues"`
	Depth            int    `koanf:"depth"`
	CHAPUser         string `koanf:"chap_user"`
	CHAPSecretFile   string `koanf:"chap_secret_file"`
	MutualUser       string `koanf:"mutual_user"`
	MutualSecretFile string `koanf:"mutual_secret_file"`
	ReadyFile        string `koanf:"ready_file"`
	Node             string `koanf:"dir"` // of the node of a volume: source
}

// Config is the list, and where its attachments are kept.
type Config struct {
	HostDir     string
	Level       slog.Level
	Attachments []Attachment
}

type fileConfig struct {
	HostDir     string       `koanf:"host_dir"`
	Log         string       `koanf:"log"`
	Attachments []Attachment `koanf:"attachments"`
}

// maxAttachments bounds the list: each is a process.
const maxAttachments = 256

// ReadConfig reads and checks a configuration file, YAML or JSON. Unknown
// settings are errors.
func ReadConfig(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, san.Errorf(san.ErrInvalid, "configuration: %v", err)
	}
	wrong := func(format string, args ...any) (Config, error) {
		return Config{}, san.Errorf(san.ErrInvalid, "configuration %s: %s", path, fmt.Sprintf(format, args...))
	}
	k := koanf.New(".")
	if err := k.Load(rawYAML(raw), nil); err != nil {
		return wrong("%v", err)
	}
	f := fileConfig{Log: "info"}
	if err := k.UnmarshalWithConf("", &f, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		TagName: "koanf", ErrorUnused: true, WeaklyTypedInput: true,
	}}); err != nil {
		return wrong("%s; 'sango host run --help' lists the settings there are", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	c := Config{HostDir: f.HostDir, Attachments: f.Attachments}
	if err := c.Level.UnmarshalText([]byte(f.Log)); err != nil {
		return wrong("log level %q is unknown; use debug, info, warn or error", f.Log)
	}
	if len(c.Attachments) > maxAttachments {
		return wrong("%d attachments; at most %d are kept", len(c.Attachments), maxAttachments)
	}
	names, places := map[string]bool{}, map[string]string{}
	for i := range c.Attachments {
		a := &c.Attachments[i]
		if err := a.check(); err != nil {
			return wrong("attachment %d: %v", i+1, err)
		}
		if names[a.Name] {
			return wrong("attachment %s is there twice; give each a name of its own", a.Name)
		}
		names[a.Name] = true
		for _, place := range []string{a.Socket, a.ReadyFile, a.Listen} {
			if place == "" || strings.HasSuffix(place, ":0") {
				continue
			}
			if other := places[place]; other != "" {
				return wrong("attachments %s and %s both use %s; give each its own", other, a.Name, place)
			}
			places[place] = a.Name
		}
	}
	return c, nil
}

// check completes a and says what is wrong with it, as far as that can be
// told without its volume.
func (a *Attachment) check() error {
	src, err := attach.ParseSource(a.Source)
	if err != nil {
		return err
	}
	if a.Name == "" {
		a.Name = src.Name()
	}
	if a.As == "" {
		a.As = attach.AsUblk
	}
	if _, err := multipath.ParsePolicy(a.Policy); err != nil {
		return err
	}
	if d, err := time.ParseDuration(a.QueueTime); a.QueueTime != "" && a.QueueTime != forever && (err != nil || d <= 0) {
		return fmt.Errorf("queue_time %q: use a duration such as 60s, or forever", a.QueueTime)
	}
	o := attach.Options{
		Name: a.Name, Source: src, As: a.As, Initiator: a.Initiator, Queues: a.Queues, Depth: a.Depth, SocketPath: a.Socket,
		Listen: a.Listen, TLSCert: a.TLSCert, TLSKey: a.TLSKey, TLSClients: a.TLSClients, Insecure: a.Insecure,
	}
	if err := o.Check(); err != nil {
		return err
	}
	if (src.Volume != "") != (a.Node != "") {
		return fmt.Errorf("attachment %s: dir is the directory of the node of a volume: source; give it there, and only there", a.Name)
	}
	switch {
	case (a.CHAPUser == "") != (a.CHAPSecretFile == ""), (a.MutualUser == "") != (a.MutualSecretFile == ""):
		return fmt.Errorf("attachment %s: an account is a user and a file: chap_user and chap_secret_file, mutual_user and mutual_secret_file", a.Name)
	case a.MutualUser != "" && a.CHAPUser == "":
		return fmt.Errorf("attachment %s: mutual CHAP goes with an account of the host: give chap_user and chap_secret_file too", a.Name)
	case a.CHAPUser != "" && len(src.URLs) == 0:
		return fmt.Errorf("attachment %s: a CHAP account is for iscsi:// sources; leave it out", a.Name)
	}
	for _, p := range []*string{&a.Socket, &a.TLSCert, &a.TLSKey, &a.TLSClients, &a.CHAPSecretFile, &a.MutualSecretFile, &a.ReadyFile, &a.Node} {
		if *p != "" && !filepath.IsAbs(*p) {
			return fmt.Errorf("attachment %s: %s is no absolute path", a.Name, *p)
		}
	}
	return nil
}

// forever is the queue_time without limit.
const forever = "forever"

// Args returns the arguments of the program that serves a. They hold no
// secret, for whoever is on the host can read them; see Env.
func (a *Attachment) Args(hostDir string) []string {
	args := []string{"attach", a.shownSource(), "--name=" + a.Name, "--host-dir=" + hostDir, "--as=" + a.As}
	add := func(flag, v string) {
		if v != "" {
			args = append(args, "--"+flag+"="+v)
		}
	}
	add("socket", a.Socket)
	add("listen", a.Listen)
	add("tls-cert", a.TLSCert)
	add("tls-key", a.TLSKey)
	add("tls-clients", a.TLSClients)
	if a.Insecure {
		args = append(args, "--insecure")
	}
	add("initiator", a.Initiator)
	add("policy", a.Policy)
	if a.QueueTime == forever {
		args = append(args, "--queue-forever")
	} else {
		add("queue-time", a.QueueTime)
	}
	if a.ReadOnly {
		args = append(args, "--read-only")
	}
	if a.Discover {
		args = append(args, "--discover")
	}
	if a.Queues > 0 {
		add("queues", strconv.Itoa(a.Queues))
	}
	if a.Depth > 0 {
		add("depth", strconv.Itoa(a.Depth))
	}
	add("chap-user", a.CHAPUser)
	add("chap-secret-file", a.CHAPSecretFile)
	add("mutual-user", a.MutualUser)
	add("mutual-secret-file", a.MutualSecretFile)
	add("ready-file", a.ReadyFile)
	add("dir", a.Node)
	return args
}

// The environment of the program that serves an attachment: what is not for
// everybody's eyes, and the list that it comes from.
const (
	EnvSource   = "SANGO_ATTACH_SOURCE"   // goes before SOURCE, which lacks the secrets of its URLs
	EnvSettings = "SANGO_ATTACH_SETTINGS" // attach.Options.Settings; made of the secrets too
	EnvErrorFD  = "SANGO_ATTACH_ERROR_FD" // number of the file that takes why the program fails
)

// Env returns what is added to the environment of the program that serves a.
func (a *Attachment) Env() []string {
	env := []string{EnvSettings + "=" + a.settings()}
	if a.shownSource() != a.Source {
		env = append(env, EnvSource+"="+a.Source)
	}
	return env
}

// shownSource returns the source without the secrets of its URLs.
func (a *Attachment) shownSource() string {
	src, err := attach.ParseSource(a.Source)
	if err != nil {
		return a.Source
	}
	for _, u := range src.URLs {
		if u.Secret != "" {
			return src.String()
		}
	}
	return a.Source
}

// settings is a digest of a, by which a later supervisor tells whether a
// running attachment is what the list says.
func (a *Attachment) settings() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", *a))
	return hex.EncodeToString(sum[:16])
}

// rawYAML is a koanf provider of one document; JSON is YAML too.
type rawYAML []byte

// ReadBytes implements koanf.Provider.
func (r rawYAML) ReadBytes() ([]byte, error) { return r, nil }

// Read implements koanf.Provider.
func (r rawYAML) Read() (map[string]any, error) {
	m := map[string]any{}
	return m, yaml.UnmarshalStrict(r, &m)
}
