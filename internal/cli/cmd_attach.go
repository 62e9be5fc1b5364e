package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sango/internal/attach"
	"sango/internal/attach/supervise"
	"sango/internal/block"
	"sango/internal/gateway"
	"sango/internal/multipath"
	"sango/internal/san"
)

// hostFlags say which host directory is meant.
type hostFlags struct{ path string }

func (h *hostFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&h.path, "host-dir", "", "directory of this host's attachments (default $SANGO_HOST_DIR, or /var/lib/sango-host for root, sango-host in $XDG_STATE_HOME for others)")
}

func (h *hostFlags) dir() (attach.Dir, error) {
	path := h.path
	if path == "" {
		var err error
		if path, err = attach.DefaultDir(); err != nil {
			return attach.Dir{}, err
		}
	}
	return attach.UseDir(path)
}

type attachOptions struct {
	hostFlags
	as, socket, name, initiator, policy string
	readyFile, logLevel                 string
	chapUser, chapSecretFile            string
	mutualUser, mutualSecretFile        string
	queueTime, startTime                time.Duration
	listen, tlsCert, tlsKey, tlsClients string
	queueForever, readOnly, discover    bool
	insecure                            bool
	queues, depth                       int
}

func (a *app) attachCommand() *cobra.Command {
	o := &attachOptions{}
	c := command("attach SOURCE", "Make a disk or a socket of a volume", `
Make a disk or a socket of a volume, and serve it in the foreground until it is
interrupted, terminated or detached. SOURCE is

  iscsi://[user[%secret]@]host[:port]/iqn/lun[,iscsi://...]
                             a volume on any iSCSI target, over all the portals given
  volume:NAME                a volume of the node in --dir, which must not run
  mem:SIZE[,block=512|4096]  memory, for trials

and --as says what of it applications get:

  ublk     a disk, /dev/ublkbN (Linux 6.4 or later with ublk_drv)
  nbd      a disk, /dev/nbdN, by the kernel's NBD driver
  socket   an NBD server on the unix socket --socket, on the TCP address --listen, or
           on both, for QEMU, nbdcopy, nbd-client; the export has the name of the
           attachment, and is the default one

The path of the disk or socket, or else the address, is printed when it serves.
Whoever may use it can read and write the volume: a unix socket is its owner's
alone; on TCP --tls-clients admits those alone who have a certificate, and
encrypts. Without it --listen takes addresses of the loopback only, unless
--insecure is given.

Requests of a path that fails go on over the others; writes only once the target
has promised that the first copy can't land any more (the FENCE command of
Sango's targets, or 10 s of waiting with others). Without any path requests wait
for --queue-time.

SIGTERM detaches and leaves nothing, within 10 seconds. A disk in use stays in
place, as it does when the process is killed: its requests wait, and the next
'sango attach' of the same name takes it over. A volume in memory is gone then, and
so is its disk.

The disks are no SCSI disks. Reads, writes, flushes, FUA, discard and
write-zeroes are passed on. SG_IO and the kernel's ioctls for persistent reservations
(IOC_PR_*) are not: they fail, nothing is accepted silently. What must reserve
volumes uses the kernel's own initiator, or reserves at the target.

A secret in a URL can be seen in the process list: --chap-secret-file hides it.
`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		err := o.run(ctx, a, args[0])
		if err != nil {
			supervise.TellError(err)
		}
		return err
	})
	o.hostFlags.add(c)
	p := c.Flags()
	p.StringVar(&o.as, "as", attach.AsUblk, "what applications get: ublk, nbd or socket")
	p.StringVar(&o.socket, "socket", "", "path of the NBD socket")
	p.StringVar(&o.listen, "listen", "", "serve NBD on TCP, at IP:PORT; port 0 takes a free one")
	p.StringVar(&o.tlsCert, "tls-cert", "", "file with the certificate of the NBD server, PEM: clients on TCP have to use TLS")
	p.StringVar(&o.tlsKey, "tls-key", "", "file with its key, PEM")
	p.StringVar(&o.tlsClients, "tls-clients", "", "file with the certificates, PEM, that sign those of the clients to be admitted")
	p.BoolVar(&o.insecure, "insecure", false, "let everybody on the network who reaches --listen read and write")
	p.StringVar(&o.name, "name", "", "name of the attachment (default: made of SOURCE)")
	p.StringVar(&o.initiator, "initiator", "", "iSCSI name of this host (default: made once, in the host directory)")
	p.StringVar(&o.policy, "policy", "", "choice of the path: service-time (default), queue-length, round-robin or failover")
	p.DurationVar(&o.queueTime, "queue-time", multipath.DefaultQueue, "how long requests wait while no path is left")
	p.BoolVar(&o.queueForever, "queue-forever", false, "requests wait without limit while no path is left")
	p.DurationVar(&o.startTime, "start-time", time.Minute, "how long to wait for the first path; one that takes a disk over waits as long as the disk does")
	p.BoolVar(&o.readOnly, "read-only", false, "refuse writes")
	p.BoolVar(&o.discover, "discover", false, "use the other portals of the target too, as it names them")
	p.IntVar(&o.queues, "queues", 0, "queues of a ublk disk, or connections of an NBD disk (default by processors, at most 4)")
	p.IntVar(&o.depth, "depth", 0, "requests in flight of a queue (default 64), or of a client of the socket (default 128)")
	p.StringVar(&o.chapUser, "chap-user", "", "CHAP user, for URLs that name none")
	p.StringVar(&o.chapSecretFile, "chap-secret-file", "", "file with that user's secret")
	p.StringVar(&o.mutualUser, "mutual-user", "", "mutual CHAP: the user as which every target must prove itself")
	p.StringVar(&o.mutualSecretFile, "mutual-secret-file", "", "file with the target's secret")
	p.StringVar(&o.readyFile, "ready-file", "", `file that appears, by rename, when it serves: {"name","device"|"socket"|"listen","size","block_size","pid"}`)
	p.StringVar(&o.logLevel, "log", "info", "what to log: debug, info, warn or error")
	return c
}

func (o *attachOptions) run(ctx context.Context, a *app, source string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return usage("--log %s: use debug, info, warn or error", o.logLevel)
	}
	if s := os.Getenv(supervise.EnvSource); s != "" {
		source = s
	}
	opt, err := o.options(source)
	if err != nil {
		return err
	}
	opt.Version, opt.Logger = a.version, a.logger(level)
	if opt.Source.Volume != "" {
		dir, err := a.node()
		if err != nil {
			return err
		}
		opt.OpenVolume = func(ctx context.Context, name string, readOnly bool) (block.Device, error) {
			return gateway.OpenVolume(ctx, gateway.Config{Dir: dir, Log: opt.Logger}, name, readOnly)
		}
	}
	if opt.As == attach.AsUblk || opt.As == attach.AsNBD {
		attach.Exec()
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err = attach.Run(ctx, opt, func(i attach.Info) {
		fmt.Fprintln(a.out, cmp.Or(i.Device, i.Socket, i.Listen))
	})
	if errors.Is(err, attach.ErrLeft) {
		// Requests may be under way: whoever asked for them must not get an answer
		// that another process could contradict.
		fmt.Fprintln(a.err, "sango:", err)
		supervise.TellError(err)
		os.Exit(exitRefused)
	}
	return err
}

// options returns what the flags say.
func (o *attachOptions) options(source string) (attach.Options, error) {
	opt := attach.Options{
		Name: o.name, As: o.as, Initiator: o.initiator, Queue: o.queueTime, Discover: o.discover, ReadOnly: o.readOnly,
		Queues: o.queues, Depth: o.depth, SocketPath: o.socket, Listen: o.listen,
		TLSCert: o.tlsCert, TLSKey: o.tlsKey, TLSClients: o.tlsClients, Insecure: o.insecure, ReadyFile: o.readyFile, StartTime: o.startTime, Settings: os.Getenv(supervise.EnvSettings),
	}
	var err error
	if opt.Dir, err = o.dir(); err != nil {
		return opt, err
	}
	if opt.Source, err = attach.ParseSource(source); err != nil {
		return opt, err
	}
	if opt.Policy, err = multipath.ParsePolicy(o.policy); err != nil {
		return opt, usage("--policy: %v", err)
	}
	if o.queueTime <= 0 || o.startTime <= 0 {
		return opt, usage("--queue-time and --start-time are longer than 0; --queue-forever waits without limit")
	}
	if o.queueForever {
		opt.Queue = -1
	}
	if (o.chapUser == "") != (o.chapSecretFile == "") {
		return opt, usage("CHAP needs both --chap-user and --chap-secret-file")
	}
	if (o.mutualUser == "") != (o.mutualSecretFile == "") {
		return opt, usage("mutual CHAP needs both --mutual-user and --mutual-secret-file")
	}
	if o.mutualUser != "" && o.chapUser == "" {
		return opt, usage("mutual CHAP goes with an account of the host: give --chap-user and --chap-secret-file too")
	}
	if o.chapUser == "" {
		return opt, nil
	}
	secret, err := readSecret(o.chapSecretFile)
	if err != nil {
		return opt, err
	}
	opt.CHAP = &san.CHAP{User: o.chapUser, Secret: string(secret), MutualUser: o.mutualUser}
	if o.mutualUser != "" {
		if secret, err = readSecret(o.mutualSecretFile); err != nil {
			return opt, err
		}
		opt.CHAP.MutualSecret = string(secret)
	}
	return opt, nil
}

type detachOptions struct {
	hostFlags
	force bool
}

func (a *app) detachCommand() *cobra.Command {
	o := &detachOptions{}
	c := command("detach NAME|DEVICE", "End an attachment", `
End an attachment, named by its name, its disk or its socket, and return when
nothing of it is left. A disk in use is refused; so is what a process left that
died, which 'sango attach' of the same name takes over. --force takes either
away: what was not written is lost, and programs that use the disk get errors.`, cobra.ExactArgs(1), func(ctx context.Context, args []string) error { return o.run(ctx, args[0]) })
	o.hostFlags.add(c)
	c.Flags().BoolVar(&o.force, "force", false, "also take away a disk in use, or what a dead process left")
	return c
}

func (o *detachOptions) run(ctx context.Context, what string) error {
	d, err := o.dir()
	if err != nil {
		return err
	}
	name, err := d.Find(ctx, what)
	if err != nil {
		return err
	}
	return d.Detach(ctx, name, o.force)
}
