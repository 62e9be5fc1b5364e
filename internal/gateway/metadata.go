package gateway

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sango/internal/meta"
	"sango/internal/san"
)

// fileTLS are the PEM files of a connection, in the configuration file.
type fileTLS struct {
	CA   string `koanf:"ca"`
	Cert string `koanf:"cert"`
	Key  string `koanf:"key"`
}

// tls returns the files by their absolute paths: commands that run elsewhere
// use them too.
func (f *fileTLS) tls() (t meta.TLS, err error) {
	for _, x := range []struct {
		from string
		to   *string
	}{{f.CA, &t.CA}, {f.Cert, &t.Cert}, {f.Key, &t.Key}} {
		if x.from == "" {
			continue
		}
		if *x.to, err = filepath.Abs(x.from); err != nil {
			return t, err
		}
	}
	return t, nil
}

// fileCluster is the part cluster of the configuration file.
type fileCluster struct {
	fileTLS  `koanf:",squash"`
	Peer     string   `koanf:"peer"`
	Client   string   `koanf:"client"`
	Members  []string `koanf:"members"`
	Join     bool     `koanf:"join"`
	Insecure bool     `koanf:"insecure"`
	Tick     string   `koanf:"tick"`
	Election string   `koanf:"election"`
}

func (f *fileCluster) member(name string) (_ *meta.Member, err error) {
	m := &meta.Member{Name: name, Peer: f.Peer, Client: f.Client, Members: f.Members, Join: f.Join, Insecure: f.Insecure}
	if m.TLS, err = f.tls(); err != nil {
		return nil, err
	}
	for _, x := range []struct {
		name, text string
		to         *time.Duration
	}{{"tick", f.Tick, &m.Tick}, {"election", f.Election, &m.Election}} {
		if x.text == "" {
			continue
		}
		if *x.to, err = time.ParseDuration(x.text); err != nil {
			return nil, san.Errorf(san.ErrInvalid, "cluster: %s %q: write it as a time such as 200ms", x.name, x.text)
		}
	}
	return m, nil
}

// fileEtcd is the part etcd of the configuration file.
type fileEtcd struct {
	fileTLS      `koanf:",squash"`
	Endpoints    []string `koanf:"endpoints"`
	User         string   `koanf:"user"`
	PasswordFile string   `koanf:"password_file"`
	Insecure     bool     `koanf:"insecure"`
}

func (f *fileEtcd) external() (_ *meta.External, err error) {
	x := &meta.External{Endpoints: f.Endpoints, User: f.User, Insecure: f.Insecure}
	if x.TLS, err = f.tls(); err != nil {
		return nil, err
	}
	if f.PasswordFile != "" {
		x.PasswordFile, err = filepath.Abs(f.PasswordFile)
	}
	return x, err
}

// metadata reads where the metadata is kept.
func (f *fileConfig) metadata() (o meta.Options, err error) {
	if f.Cluster != nil {
		if o.Member, err = f.Cluster.member(f.Name); err != nil {
			return o, err
		}
	}
	if f.Etcd != nil {
		o.External, err = f.Etcd.external()
	}
	return o, err
}

// metaOptions are the options with which the node opens its metadata.
func (c *Config) metaOptions() meta.Options {
	o := c.Meta
	o.Log = c.Log
	return o
}

// savedTime bounds the opening of the metadata of a node that does not run:
// where others have to take part, they run or they don't.
const savedTime = 30 * time.Second

// openSaved opens the metadata of a node that does not run, as that did.
func openSaved(ctx context.Context, cfg Config) (*meta.Store, error) {
	dir := filepath.Join(cfg.Dir, metaName)
	o, err := meta.Saved(dir, cfg.Log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, savedTime)
	defer cancel()
	return meta.Open(ctx, dir, o)
}

// Restore puts a backup in the place of the metadata of a node that does not
// run; see meta.Restore. Without a configuration of where that is kept it is
// where it was; in a new directory alone. others are the members that the
// configuration lists, and that have to be added now: this one is alone.
func Restore(ctx context.Context, cfg Config, configured bool, from *os.File, replace bool) (info meta.BackupInfo, others []string, err error) {
	lock, err := TakeLock(cfg.Dir)
	if err != nil {
		return info, nil, err
	}
	defer lock.Release()
	dir := filepath.Join(cfg.Dir, metaName)
	o := cfg.metaOptions()
	if !configured {
		o, err = meta.Saved(dir, cfg.Log)
		if o.Waits = cfg.Meta.Waits; err != nil {
			return info, nil, err
		}
	}
	if info, err = meta.Restore(ctx, dir, o, from, replace); err != nil || o.Member == nil {
		return info, nil, err
	}
	now, err := meta.Saved(dir, cfg.Log)
	if err == nil && now.Member != nil && len(now.Member.Members) == 0 {
		others = slices.DeleteFunc(slices.Clone(o.Member.Members), func(s string) bool { return strings.HasPrefix(s, o.Member.Name+"=") })
	}
	return info, others, err
}

// Release takes the claim on an etcd that others run away from a gateway that
// is gone for good, without a node.
func Release(ctx context.Context, cfg Config, name string) error {
	if cfg.Meta.External == nil {
		return san.Errorf(san.ErrRefused, "the configuration names no etcd: run the command on a node of the cluster that runs, with --dir")
	}
	lock, err := TakeLock(cfg.Dir)
	if err != nil {
		return err
	}
	defer lock.Release()
	m, err := meta.Open(ctx, filepath.Join(cfg.Dir, metaName), cfg.metaOptions())
	if err != nil {
		return err
	}
	defer m.Close()
	return m.Update(ctx, func(tx *meta.Tx) error { return tx.Release(name) })
}
