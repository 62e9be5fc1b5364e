package harness

import (
	"context"
	"flag"
	"fmt"
	"os"
)

// Main is the main function of a test program called name: it reads the flags that are defined, runs f with a context
// that ends when the user interrupts, and ends the process, with status 1 and the error on standard error if f failed.
func Main(name string, f func(ctx context.Context) error) {
	flag.Parse()
	ctx, cancel := Interruptible()
	err := f(ctx)
	cancel()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
