package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sango/internal/attach"
	"sango/internal/attach/supervise"
)

type hostRunOptions struct {
	hostFlags
	config string
	keep   bool
}

func (a *app) hostRunCommand() *cobra.Command {
	o := &hostRunOptions{}
	c := command("run --config FILE", "Keep a list of attachments", `
Keep a list of attachments until it is terminated: each is a process of its own,
'sango attach', which is started again when it dies and then takes over the disk
that it left. The configuration is YAML or JSON:

  host_dir: /var/lib/sango-host  # as --host-dir, which goes before it
  log: info                      # debug, info, warn or error; of the attachments too
  attachments:
    - name: db
      source: iscsi://10.0.0.1/iqn.2026-11.com.example:disks/0,iscsi://10.0.1.1/iqn.2026-11.com.example:disks/0
      as: ublk                   # ublk (default), nbd or socket
      discover: true             # each of these may be left out; they are
      policy: service-time       # the flags of 'sango attach'
      queue_time: 60s            # or forever
      read_only: false
      queues: 2
      depth: 64
      initiator: iqn.2026-11.com.example:host
      chap_user: host
      chap_secret_file: /etc/sango/secret
      mutual_user: target
      mutual_secret_file: /etc/sango/target-secret
      ready_file: /run/sango/db.json
    - source: volume:scratch
      dir: /var/lib/sango        # of the node, which does not run
      as: socket
      socket: /run/sango/scratch.sock
      listen: 10.0.0.9:10809     # and on TCP, to those who have a certificate
      tls_cert: /etc/sango/nbd.pem
      tls_key: /etc/sango/nbd-key.pem
      tls_clients: /etc/sango/nbd-clients.pem

SIGHUP reads it again: new attachments start, those that are gone are detached,
and those that changed are started anew. SIGTERM detaches all within 15 seconds;
with --keep it leaves them as they are. Attachments outlive a supervisor that is
killed, too, and the next one goes on with them. A disk that is in use is not
detached: it stays in place for the next 'sango attach' of its name. One that
is detached by hand starts again: take it out of the list instead.

systemd is told when each attachment was started, and how many run.
'sango host attachments' shows how they are kept, 'sango paths' what they do.`, cobra.NoArgs, func(ctx context.Context, _ []string) error { return o.run(ctx, a) })
	o.hostFlags.add(c)
	c.Flags().StringVar(&o.config, "config", "", "configuration file")
	c.Flags().BoolVar(&o.keep, "keep", false, "leave the attachments as they are at the end")
	return c
}

// supervisorView is what 'sango host attachments' shows.
type supervisorView struct {
	PID         int              `json:"pid"`
	Version     string           `json:"version"`
	Config      string           `json:"config"`
	Started     time.Time        `json:"started"`
	Attachments []supervise.View `json:"attachments"`
}

func (o *hostRunOptions) run(ctx context.Context, a *app) error {
	if o.config == "" {
		return usage("which configuration? give it with --config FILE")
	}
	cfg, err := supervise.ReadConfig(o.config)
	if err != nil {
		return err
	}
	h := o.hostFlags
	if h.path == "" {
		h.path = cfg.HostDir
	}
	dir, err := h.dir()
	if err != nil {
		return err
	}
	if err := dir.Make(); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("the path of this program: %w", err)
	}
	log := a.logger(cfg.Level)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	reload, done := make(chan struct{}), make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-hup:
			case <-done:
				return
			}
			select {
			case reload <- struct{}{}:
			case <-done:
				return
			}
		}
	}()
	s := supervise.New(supervise.Options{
		Processes: &supervise.Programs{Dir: dir, Path: exe, Log: cfg.Level, Stderr: a.err},
		Read:      func() (supervise.Config, error) { return supervise.ReadConfig(o.config) },
		Reload:    reload, Keep: o.keep, Logger: log, Notify: notifier(log),
	})
	started := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(supervisorView{os.Getpid(), a.version, o.config, started, s.Views()}) // who asked may be gone
	})
	unserve, err := attach.ServeSocket(dir.SupervisorSocket(), mux, log)
	if err != nil {
		return err
	}
	defer unserve()
	return s.Run(ctx)
}

// notifier returns a function that tells systemd of the state of the service
// (sd_notify(3)), where that asked for it.
func notifier(log *slog.Logger) func(string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	os.Unsetenv("NOTIFY_SOCKET") // not for the attachments
	return func(state string) {
		c, err := net.Dial("unixgram", path)
		if err == nil {
			_, err = c.Write([]byte(state))
			c.Close()
		}
		if err != nil {
			log.Warn("systemd can't be told", "state", state, "err", err)
		}
	}
}

type hostAttachmentsOptions struct {
	hostFlags
	output output
}

func (a *app) hostAttachmentsCommand() *cobra.Command {
	o := &hostAttachmentsOptions{}
	c := o.output.add(command("attachments", "Show how 'sango host run' keeps its attachments", "", cobra.NoArgs,
		func(ctx context.Context, _ []string) error { return o.run(ctx, a) }))
	o.hostFlags.add(c)
	return c
}

func (o *hostAttachmentsOptions) run(ctx context.Context, a *app) error {
	d, err := o.dir()
	if err != nil {
		return err
	}
	var v supervisorView
	if err := d.Supervisor(ctx, &v); err != nil {
		return err
	}
	return a.print(o.output, v, func(w io.Writer) {
		rows := make([][]string, 0, len(v.Attachments))
		for _, k := range v.Attachments {
			pid := ""
			if k.PID != 0 {
				pid = strconv.Itoa(k.PID)
			}
			rows = append(rows, []string{k.Name, k.State, dash(pid), when(&k.Since), strconv.Itoa(k.Restarts), k.Error})
		}
		table(w, []string{"NAME", "STATE", "PROCESS", "SINCE", "RESTARTS", "ENDED LAST"}, rows)
	})
}
