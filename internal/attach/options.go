package attach

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"sango/internal/block"
	"sango/internal/multipath"
	"sango/internal/san"
)

// Options say what to attach, and how.
type Options struct {
	Dir    Dir
	Name   string // "": Source.Name
	Source Source
	As     string // AsUblk, AsNBD, AsSocket

	Initiator string    // iSCSI name; "": that of the host directory
	CHAP      *san.CHAP // account of the URLs that have none; its mutual half is asked of every target
	Policy    multipath.Policy
	Queue     time.Duration // how long requests wait without any path; 0: 60 s, below 0: for ever
	Discover  bool          // the other portals of the target become paths too

	ReadOnly   bool
	Queues     int    // of a ublk disk, or connections of an NBD disk; 0: the frontend's default
	Depth      int    // requests in flight of a queue, or of a connection of AsSocket; 0: the frontend's default
	SocketPath string // AsSocket: the unix socket; "": none
	// Listen, of AsSocket, is where NBD is served on TCP, IP:PORT; "": nowhere.
	// With TLSCert and TLSKey, PEM files, clients have to use TLS; with TLSClients
	// they have to show a certificate that one of that file has signed. Other
	// addresses than of the loopback need that, or Insecure.
	Listen                      string
	TLSCert, TLSKey, TLSClients string
	Insecure                    bool

	ReadyFile string // appears, by rename, when the attachment serves, and goes with it; holds Info
	// StartTime bounds how long a first start waits for a path; 0: 60 s. One that
	// takes a disk over waits as long as the disk does.
	StartTime time.Duration
	// Settings is the caller's, to tell by the status whether a running attachment
	// is what it would start.
	Settings string
	Version  string

	// OpenVolume opens the source volume:NAME.
	OpenVolume func(ctx context.Context, name string, readOnly bool) (block.Device, error)
	Logger     *slog.Logger // nil: slog.Default()

	tls *tls.Config // what loadTLS has read

	// start is startFrontend; tests put others here.
	start func(ctx context.Context, o *Options, st *State, dev block.Device, recover bool) (frontend, error)
}

const defaultStart = time.Minute

// Check says what is wrong with o, as far as it can be told without its volume
// and its secrets.
func (o Options) Check() error {
	if o.OpenVolume == nil {
		o.OpenVolume = func(context.Context, string, bool) (block.Device, error) { return nil, nil }
	}
	return o.complete()
}

// complete checks o and fills in the defaults.
func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = o.Source.Name()
	}
	if o.start == nil {
		o.start = startFrontend
	}
	if o.StartTime == 0 {
		o.StartTime = defaultStart
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = o.Logger.With("attachment", o.Name)
	if err := checkName(o.Name); err != nil {
		return err
	}
	if o.Initiator != "" {
		if err := san.CheckIQN(o.Initiator); err != nil {
			return fmt.Errorf("initiator: %w", err)
		}
	}
	if o.CHAP != nil {
		if len(o.Source.URLs) == 0 {
			return san.Errorf(san.ErrInvalid, "a CHAP account is for iscsi:// sources; leave it out")
		}
		if err := o.CHAP.Check(); err != nil {
			return err
		}
	}
	if o.Queues < 0 || o.Queues > 64 {
		return san.Errorf(san.ErrInvalid, "%d queues: use 1 to 64, or 0 for the default", o.Queues)
	}
	if o.Depth < 0 || o.Depth > 4096 {
		return san.Errorf(san.ErrInvalid, "a depth of %d requests: use 1 to 4096, or 0 for the default", o.Depth)
	}
	switch {
	case o.As == AsNBD && o.Depth > 0:
		return san.Errorf(san.ErrInvalid, "--depth goes with --as ublk and socket only: the NBD driver has 128 requests a connection")
	case o.As == AsSocket && o.Queues > 0:
		return san.Errorf(san.ErrInvalid, "--queues goes with --as ublk and nbd only: clients of a socket make the connections they want")
	}
	switch o.As {
	case AsUblk, AsNBD:
		if o.SocketPath != "" || o.Listen != "" || o.TLSCert != "" || o.TLSKey != "" || o.TLSClients != "" || o.Insecure {
			return san.Errorf(san.ErrInvalid, "--socket, --listen, --tls-... and --insecure go with --as socket only")
		}
	case AsSocket:
		if err := o.checkListen(); err != nil {
			return err
		}
		if o.SocketPath == "" && o.Listen == "" {
			return san.Errorf(san.ErrInvalid, "which socket? name its path with --socket, or an address with --listen")
		}
		if o.SocketPath == "" {
			break
		}
		abs, err := filepath.Abs(o.SocketPath)
		if err != nil {
			return san.Errorf(san.ErrInvalid, "socket %s: %v", o.SocketPath, err)
		}
		if o.SocketPath = abs; len(abs) > maxSocketPath {
			return san.Errorf(san.ErrInvalid, "socket %s: its path has %d bytes, a socket's has at most %d", abs, len(abs), maxSocketPath)
		}
	default:
		return san.Errorf(san.ErrInvalid, "frontend %q: use ublk, nbd or socket", o.As)
	}
	if o.Source.Volume != "" && o.OpenVolume == nil {
		return san.Errorf(san.ErrInvalid, "source %v: name the node's directory with --dir", o.Source)
	}
	return nil
}
