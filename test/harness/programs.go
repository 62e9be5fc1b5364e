package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// packageOf says which Debian package brings a program.
var packageOf = map[string]string{
	"gcc":                "gcc",
	"iscsi-test-cu":      "libiscsi-bin",
	"iscsi-ls":           "libiscsi-bin",
	"iscsi-inq":          "libiscsi-bin",
	"iscsi-perf":         "libiscsi-bin",
	"qemu-img":           "qemu-utils",
	"qemu-io":            "qemu-utils",
	"qemu-system-x86_64": "qemu-system-x86",
	"nbdinfo":            "libnbd-bin",
	"nbdcopy":            "libnbd-bin",
	"nbd-client":         "nbd-client",
	"fio":                "fio",
	"nbdkit":             "nbdkit",
	"qemu-nbd":           "qemu-utils",
	"iperf3":             "iperf3",
	"fincore":            "util-linux",
	"cpio":               "cpio",
	"mkfs.ext4":          "e2fsprogs",
	"debugfs":            "e2fsprogs",
	"e2fsck":             "e2fsprogs",
	"tgtd":               "tgt",
	"tgtadm":             "tgt",
	"tshark":             "tshark",
	"spin":               "spin",
	"apt-get":            "apt",
	"ip":                 "iproute2",
	"mount":              "mount",
	"dpkg-deb":           "dpkg",
}

// Need returns an error that names the packages of the programs that are not installed.
func Need(programs ...string) error {
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, fmt.Sprintf("%s (Debian package %s)", p, packageOf[p]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not installed: %s; run test/deps as root", strings.Join(missing, ", "))
	}
	return nil
}

// Run runs a program and returns what it wrote, both streams together. The error, if any, carries that output too.
func Run(ctx context.Context, timeout time.Duration, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return string(out), nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no end within %v", timeout)
	}
	line := strings.Join(append([]string{program}, args...), " ")
	if len(line) > 500 {
		line = line[:250] + " ... " + line[len(line)-250:]
	}
	text := strings.TrimSpace(string(out))
	if len(text) > 4000 {
		text = "... " + text[len(text)-4000:]
	}
	return string(out), fmt.Errorf("%s: %w\n%s", line, err, text)
}

// Interruptible is a context that ends when the user interrupts the program, so that what it started is stopped.
func Interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// awaitEvery is the time between two tries of Await.
const awaitEvery = 50 * time.Millisecond

// Await calls f until it succeeds, or ctx or the limit is over: then it says what was awaited, and how f failed last.
func Await(ctx context.Context, limit time.Duration, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}
