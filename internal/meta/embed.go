package meta

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sango/internal/certs"
	"sango/internal/san"
)

// walSegment is the size of a piece of etcd's write-ahead log, in bytes. etcd
// allocates one or two ahead; its default of 64 MiB is much for a small disk.
const walSegment = 8 << 20

// maxRequest bounds one request to etcd, in bytes.
const maxRequest = 8 << 20

var walOnce sync.Once

// startEmbedded runs an etcd member in dir: alone, listening on nothing, the
// client calling the server's functions; or with o.Member as one of a cluster.
// The caller must hold the node's own lock on the directory, because a second
// etcd on the same files would wait for the first for ever.
func startEmbedded(ctx context.Context, dir string, o Options) (*embed.Etcd, *clientv3.Client, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("metadata directory: %w", err)
	}
	walOnce.Do(func() { wal.SegmentSizeBytes = walSegment })
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dir, "etcd")
	cfg.InitialClusterToken = "sango"
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModeRevision, "10000"
	cfg.MaxTxnOps = maxTxnOps
	cfg.MaxRequestBytes = maxRequest
	cfg.UnsafeNoFsync = o.NoSync
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(newSlogCore(o.Log)))
	if o.Member == nil {
		alone(cfg)
	} else {
		o.Member.configure(cfg)
		if err := o.Member.checkJoin(ctx, dir); err != nil {
			return nil, nil, err
		}
	}
	if err := checkStart(dir, freeSpace); err != nil {
		return nil, nil, err
	}
	if err := checkDatabase(filepath.Join(cfg.Dir, "member", "snap", "db")); err != nil {
		return nil, nil, err
	}
	e, err := startEtcd(cfg)
	if err != nil {
		return nil, nil, startErr(dir, o, err)
	}
	if err := ready(ctx, e, o); err != nil {
		// Close alone would wait for what serves clients, which waits for the server
		// to become ready.
		e.Server.HardStop()
		e.Close()
		return nil, nil, fmt.Errorf("metadata in %s: %w", dir, err)
	}
	return e, v3client.New(e.Server), nil
}

// alone makes a cluster of one member.
func alone(cfg *embed.Config) {
	cfg.Name = "sango"
	cfg.ListenPeerUrls, cfg.ListenClientUrls = nil, nil
	// A member has addresses in its records even when nobody can call them.
	nowhere := url.URL{Scheme: "unix", Host: "sango"}
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{nowhere}, []url.URL{nowhere}
	cfg.InitialCluster = cfg.Name + "=" + nowhere.String()
}

// slowStart is after how long a start that waits for others says so, and
// slowAgain how often it looks whether it waits for something else.
const (
	slowStart = 3 * time.Second
	slowAgain = 5 * time.Second
)

// ready waits until the server takes part in its cluster.
func ready(ctx context.Context, e *embed.Etcd, o Options) error {
	slow := time.NewTimer(slowStart)
	defer slow.Stop()
	waits := ""
	for {
		select {
		case <-e.Server.ReadyNotify():
			if waits != "" && o.Waits != nil {
				o.Waits("")
			}
			return nil
		case <-slow.C:
			if o.Member == nil {
				continue
			}
			slow.Reset(slowAgain)
			now := o.Member.awaited(ctx, e)
			if now == waits || ctx.Err() != nil {
				continue
			}
			waits = now
			o.Log.Warn("the start waits for "+waits, "member", o.Member.Name)
			if o.Waits != nil {
				o.Waits(waits)
			}
		case <-ctx.Done():
			if o.Member != nil {
				if waits == "" {
					waits = "a majority of the metadata members"
				}
				return san.Errorf(san.ErrUnavailable, "the start has waited long enough for %s: start the others, and look whether they reach each other's peer addresses", waits)
			}
			return fmt.Errorf("not ready: %w", ctx.Err())
		case <-e.Server.StopNotify():
			if o.Member != nil {
				return san.Errorf(san.ErrRefused, "metadata member %s stopped at its start: it was removed from the cluster, as 'sango cluster members' on another node tells, and to come back it has to be added and to start in a new directory; or its disk failed, as the log tells", o.Member.Name)
			}
			return errors.New("etcd stopped during its start; the log says why")
		}
	}
}

// startEtcd starts etcd, which panics where it can't make or read its files.
func startEtcd(cfg *embed.Config) (e *embed.Etcd, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, err = nil, fmt.Errorf("etcd does not start: %v", p)
		}
	}()
	return embed.StartEtcd(cfg)
}

// checkDatabase opens etcd's database for a look, because etcd panics where it
// does not open. It makes one where there is none, or an empty one, as a
// process leaves it that was killed at its very first start.
func checkDatabase(path string) error {
	if st, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		return nil
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: opTimeout})
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		return fmt.Errorf("metadata in %s: %w; if the file is damaged, restore the directory from a backup", path, err)
	}
	return nil
}

// slogCore hands etcd's warnings and errors on to slog; its chatter below that
// goes to debug.
type slogCore struct {
	log    *slog.Logger
	often  *often
	fields []zapcore.Field
}

func newSlogCore(log *slog.Logger) *slogCore { return &slogCore{log: log, often: newOften()} }

func (c *slogCore) Enabled(l zapcore.Level) bool {
	if l == zapcore.WarnLevel {
		return c.log.Enabled(context.Background(), slog.LevelWarn) // some are told as such
	}
	return c.log.Enabled(context.Background(), level(l))
}

func (c *slogCore) With(f []zapcore.Field) zapcore.Core {
	return &slogCore{log: c.log, often: c.often, fields: append(c.fields[:len(c.fields):len(c.fields)], f...)}
}

// needless is what etcd complains of although nothing is wrong: that it has
// ports, or does not; that its listeners end when it is told to end; what the
// caller gets as an error, and tries again.
var needless = []string{
	"Running http and grpc server on single port",
	"setting up serving from embedded etcd failed",
	"rejecting promote learner",
	"Validation on configuration change failed",
	"failed to update storage version",
	"rejecting member add request",
	"rejecting member remove request",
	"clientv3/retry_interceptor: getToken failed",
	"bootstrap failed",
}

func (c *slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) || slices.ContainsFunc(needless, func(p string) bool { return strings.HasPrefix(e.Message, p) }) {
		return ce
	}
	return ce.AddCore(e, c)
}

// refused is what is said in the place of a warning of etcd that is about
// certificates: it concerns who has to run, and does not end by itself.
const refused = "a metadata member does not get through because of certificates; 'sango doctor --config FILE' looks at those of its own node"

func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	say, kind := level(e.Level), e.Message
	if e.Level == zapcore.WarnLevel {
		if slices.ContainsFunc(fields, aboutCertificates) {
			kind, say, e.Message = refused+kind, slog.LevelWarn, refused
			fields = append(fields[:len(fields):len(fields)], zap.String("where", strings.TrimPrefix(kind, refused)))
		}
		if !c.log.Enabled(context.Background(), say) || !c.often.tells(kind, e.Time) {
			return nil
		}
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range c.fields {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields)+1)
	attrs = append(attrs, slog.String("part", "etcd"))
	if n := c.often.more(kind); n > 0 {
		attrs = append(attrs, slog.Int("untold", n))
	}
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	c.log.LogAttrs(context.Background(), say, e.Message, attrs...)
	return nil
}

// aboutCertificates reports whether a field is an error of TLS.
func aboutCertificates(f zapcore.Field) bool {
	err, ok := f.Interface.(error)
	return ok && f.Type == zapcore.ErrorType && certs.Refusal(err.Error())
}

func (c *slogCore) Sync() error { return nil }

// level maps etcd's levels: what it calls information is detail to us, and
// most of its warnings concern a cluster that is not there.
func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}
