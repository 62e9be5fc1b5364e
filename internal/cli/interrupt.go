package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// interruptible returns a context that ends at the first SIGINT or SIGTERM.
// The second one ends the process with status 1, whatever it waits for. stop
// ends all that.
func (a *app) interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	sig := make(chan os.Signal, 2)
	signal.Notify(sig, syscall.SIGINT, syscall.SIGTERM)
	over, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for told := false; ; told = true {
			select {
			case <-over:
				return
			case <-sig:
			}
			if told {
				fmt.Fprintln(a.err, "sango: interrupted again; not everything was waited for")
				os.Exit(exitFailed)
			}
			cancel()
		}
	}()
	return ctx, func() {
		signal.Stop(sig)
		close(over)
		<-watched
		cancel()
	}
}
