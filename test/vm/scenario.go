package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"sango/test/harness"
)

// scenario is a guest that runs scenario/run-NAME.
type scenario struct {
	name    string
	prepare func(ctx context.Context, o options, share string) (*outside, error)
	long    bool // it is not of the short form, unless it is asked for
}

var scenarios = []scenario{
	{name: "iscsi", prepare: prepareTarget},
	{name: "ublk", prepare: prepareProbe},
	{name: "attach-ublk", prepare: preparePortals},
	{name: "attach-nbd", prepare: prepareManyCPUs},
	{name: "boot-nbd", prepare: prepareBootSocket},
	{name: "boot-iscsi", prepare: prepareBootISCSI},
	{name: "cluster", prepare: prepareCluster},
	{name: "failover", prepare: prepareCluster, long: true},
	{name: "fence", prepare: prepareFence},
}

// outside is what there is of a scenario outside of a guest.
type outside struct {
	env    []string // what the guest has to know
	kernel string   // more of the kernel's command line
	qemu   []string // more arguments of QEMU
	// do does what the guest asks for.
	do func(ctx context.Context, verb string, args []string) (string, error)
	// check looks at what is left when the guest has ended well; may be nil.
	check func(ctx context.Context, rep *harness.Report)
	close func() error // may be nil
	// started is told of the guest's QEMU; may be nil.
	started func(qemu *os.Process)
	// twin is that of a second guest, which runs the same at the same time; nil: there is none. Its close is not called.
	twin *outside
}

// prepareTarget serves volumes to the initiator of the guest's kernel.
func prepareTarget(ctx context.Context, o options, _ string) (*outside, error) {
	t, err := startTarget(ctx, o.sango)
	if err != nil {
		return nil, err
	}
	return &outside{env: t.env(), do: t.do, close: t.close}, nil
}

// prepareProbe makes a program for the guest that serves ublk disks.
func prepareProbe(ctx context.Context, o options, share string) (*outside, error) {
	do := func(context.Context, string, []string) (string, error) {
		return "", errors.New("this scenario has nothing outside of the guest")
	}
	return &outside{do: do}, buildStatic(ctx, "./"+filepath.Join(o.source, "ublkprobe"), filepath.Join(share, "ublkprobe"))
}

// buildStatic builds a program for the guest, which has none of this machine's libraries.
func buildStatic(ctx context.Context, pkg, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", file, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s for the guest: %w\n%s", pkg, err, out)
	}
	return nil
}
