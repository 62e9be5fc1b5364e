// Command sango is a software SAN: see 'sango help'.
package main

import (
	"context"
	"os"

	"sango/internal/cli"
)

// version is set by the build (-ldflags "-X main.version=...").
var version = "development"

func main() {
	os.Exit(cli.Run(context.Background(), version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
