package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"sango/internal/san"
)

// output is the form of what a command prints.
type output string

// The forms.
const (
	outputTable output = "table"
	outputJSON  output = "json"
	outputYAML  output = "yaml"
)

// String, Set and Type make output a flag that refuses other values.
func (o *output) String() string { return string(*o) }

// Set implements pflag.Value.
func (o *output) Set(s string) error {
	switch v := output(s); v {
	case outputTable, outputJSON, outputYAML:
		*o = v
		return nil
	}
	return fmt.Errorf("use table, json or yaml")
}

// Type implements pflag.Value.
func (o *output) Type() string { return "table|json|yaml" }

// add gives a command the flag -o.
func (o *output) add(c *cobra.Command) *cobra.Command {
	*o = outputTable
	c.Flags().VarP(o, "output", "o", "form of the output")
	return c
}

// print writes v as JSON or YAML, or calls people for a table.
func (a *app) print(o output, v any, people func(w io.Writer)) error {
	switch o {
	case outputJSON:
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	case outputYAML:
		b, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = a.out.Write(b)
		return err
	}
	people(a.out)
	return nil
}

// table writes rows under a head, in columns.
func table(w io.Writer, head []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(head, "\t"))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	t.Flush()
}

// fields writes names and values, one pair a line; empty values are left out.
func fields(w io.Writer, pairs ...string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", pairs[i], pairs[i+1])
		}
	}
	t.Flush()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func size(n int64) string { return san.FormatSize(n) }

func when(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
