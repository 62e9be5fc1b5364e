// Command tgt runs the initiator against tgtd, a target that has nothing in common with ours: discovery, logins, digests,
// data, task management, the death of the target. It needs root, and the Debian packages tgt and tshark.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"sango/test/harness"
)

func main() {
	keep := flag.Bool("keep", false, "keep the directory with the logs and the capture")
	harness.Main("tgt", func(ctx context.Context) error { return run(ctx, *keep) })
}

func run(ctx context.Context, keep bool) error {
	if err := harness.Need("tgtd", "tgtadm", "tshark"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tgt")
	if err != nil {
		return err
	}
	if keep {
		fmt.Println("logs in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	d, err := newTgtd(dir, 2)
	if err != nil {
		return err
	}
	defer d.kill()
	if err := d.start(ctx); err != nil {
		return err
	}
	rep := &harness.Report{W: os.Stdout}
	initiatorSteps(ctx, rep, d)
	multipathSteps(ctx, rep, d)
	return rep.Err()
}
