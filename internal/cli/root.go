package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sango/internal/api"
	"sango/internal/gateway"
	"sango/internal/san"
)

// Exit statuses, the same for every command.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitRefused     = 4
	exitUnavailable = 5
)

const exitStatus = `
EXIT STATUS
  0  done
  1  failed
  2  wrong usage, or a value that makes no sense
  3  something named does not exist
  4  refused: the name is taken, or the state of things forbids it
  5  no node answers, or it can't right now
`

// app is what commands need of their surroundings.
type app struct {
	in       io.Reader
	out, err io.Writer
	terminal bool // err is a terminal: progress may move
	version  string
	started  bool // arguments were understood, a command runs

	dir, server, token string
}

// Run runs the command line args (without the program's name) and returns the
// exit status.
func Run(ctx context.Context, version string, args []string, in io.Reader, out, errw io.Writer) int {
	a := &app{in: in, out: out, err: errw, version: version}
	if f, ok := errw.(*os.File); ok {
		a.terminal = term.IsTerminal(int(f.Fd()))
	}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	code := status(err)
	if !a.started {
		code = exitUsage
	}
	fmt.Fprintln(errw, "sango:", err)
	if code == exitUsage {
		fmt.Fprintln(errw, "'sango help' and --help behind every command say how it is used.")
	}
	return code
}

// status returns the exit status for an error.
func status(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, san.ErrInvalid):
		return exitUsage
	case errors.Is(err, san.ErrNotFound):
		return exitNotFound
	case errors.Is(err, san.ErrExists), errors.Is(err, san.ErrRefused):
		return exitRefused
	case errors.Is(err, san.ErrUnavailable):
		return exitUnavailable
	}
	return exitFailed
}

func usage(format string, args ...any) error { return san.Errorf(san.ErrInvalid, format, args...) }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sango",
		Short: "A software SAN: block volumes over iSCSI",
		Long: strings.TrimSpace(`
Sango serves block volumes to hosts over iSCSI. 'sango demo' serves one on this
machine at once; 'sango gateway run' runs a node from a configuration file; the
other commands manage the node whose directory --dir or $SANGO_DIR names.`) + "\n" + exitStatus,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { a.started = true },
		RunE:              group,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	p := root.PersistentFlags()
	p.StringVar(&a.dir, "dir", "", "the node's directory (default $SANGO_DIR)")
	p.StringVar(&a.server, "server", "", "a node on the network (default $SANGO_SERVER); not served yet")
	p.StringVar(&a.token, "token", "", "what --server lets in (default $SANGO_TOKEN); not served yet")
	root.AddCommand(
		a.demoCommand(), a.gatewayCommand(), a.volumeCommand(), a.targetCommand(), a.hostCommand(), a.clusterCommand(),
		a.attachCommand(), a.detachCommand(), a.pathsCommand(), a.benchCommand(), a.statusCommand(), a.doctorCommand(), a.versionCommand(),
	)
	return root
}

// group is the run function of commands that only hold others.
func group(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	return cmd.Help()
}

func unknownCommand(cmd *cobra.Command, name string) error {
	hint := ""
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage("%s has no command %q%s", cmd.CommandPath(), name, hint)
}

// strayFlag looks behind a flag that a command does not know which only holds
// others: what was meant is one of those, misspelt.
func strayFlag(cmd *cobra.Command, err error) error {
	if name := cmd.Flags().Arg(0); name != "" && cmd.HasSubCommands() {
		return unknownCommand(cmd, name)
	}
	return err
}

// noun returns a command that holds others.
func noun(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: short + ".\n" + exitStatus, Args: cobra.ArbitraryArgs, RunE: group, SuggestionsMinimumDistance: 2}
	c.SetFlagErrorFunc(strayFlag)
	c.AddCommand(subs...)
	return c
}

// command returns a command with the exit statuses in its help.
func command(use, short, long string, args cobra.PositionalArgs, run func(ctx context.Context, args []string) error) *cobra.Command {
	if long == "" {
		long = short + "."
	}
	return &cobra.Command{
		Use: use, Short: short, Long: strings.TrimSpace(long) + "\n" + exitStatus, Args: named(args),
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), args) },
	}
}

// named makes check's errors name the argument that is missing or too much, by
// the command's use line.
func named(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil {
			return nil
		}
		var want []string
		for _, word := range strings.Fields(cmd.Use)[1:] {
			if word == "|" || strings.HasPrefix(word, "-") {
				break // another form of the last, or flags
			}
			want = append(want, word)
		}
		use := strings.TrimSuffix(cmd.CommandPath(), cmd.Name()) + cmd.Use
		switch {
		case len(args) < len(want):
			return usage("%s is missing; write it as '%s'", want[len(args)], use)
		case len(args) > len(want):
			return usage("%q is one argument too many; write it as '%s'", args[len(want)], use)
		}
		return err
	}
}

// node returns the directory that the flags or the environment name.
func (a *app) node() (string, error) {
	if a.server != "" || a.token != "" {
		return "", san.Errorf(san.ErrRefused, "nodes are not reached over the network yet; run the command on the node's machine, with --dir")
	}
	if a.dir != "" {
		return a.dir, nil
	}
	if d := os.Getenv("SANGO_DIR"); d != "" {
		return d, nil
	}
	if os.Getenv("SANGO_SERVER") != "" {
		return "", san.Errorf(san.ErrRefused, "SANGO_SERVER is set, but nodes are not reached over the network yet; run the command on the node's machine, with --dir")
	}
	return "", usage("which node? name its directory with --dir DIR, or set SANGO_DIR")
}

// client returns a client of the node that the flags name.
func (a *app) client() (*api.Client, error) {
	dir, err := a.node()
	if err != nil {
		return nil, err
	}
	cl := api.NewClient(dir)
	cl.Absent = func() error { return gateway.Unanswered(dir) }
	return cl, nil
}

// say prints a line for people, unless the output is for programs.
func (a *app) say(format output, line string, args ...any) {
	if format == outputTable {
		fmt.Fprintf(a.out, line+"\n", args...)
	}
}
