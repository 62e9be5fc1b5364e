package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

type versionOptions struct{ output output }

func (a *app) versionCommand() *cobra.Command {
	o := &versionOptions{}
	return o.output.add(command("version", "Print the version", "", cobra.NoArgs,
		func(context.Context, []string) error { return o.run(a) }))
}

func (o *versionOptions) run(a *app) error {
	v := struct {
		Version string `json:"version"`
		Go      string `json:"go"`
	}{a.version, runtime.Version()}
	return a.print(o.output, v, func(w io.Writer) { fmt.Fprintf(w, "sango %s (%s)\n", v.Version, v.Go) })
}
