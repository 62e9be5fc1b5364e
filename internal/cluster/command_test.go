package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/san"
)

// The operator's command is told whom to turn off, and has its time.
func TestCommand(t *testing.T) {
	m := model.Member{Gateway: "gw1", Incarnation: 7}
	file := filepath.Join(t.TempDir(), "fenced")
	run := func(script string, timeout time.Duration) error {
		c := &Command{Args: []string{"/bin/sh", "-c", script, "sh", file}, Timeout: timeout}
		return Fences{Command: c}.FenceGateway(t.Context(), m)
	}
	if err := run(`echo "$SANGO_FENCE_GATEWAY $SANGO_FENCE_INCARNATION" > "$1"`, 0); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "gw1 7\n" {
		t.Errorf("it was told %q, %v", b, err)
	}
	if err := run("yes | head -c 100000; echo plug; exit 3", 0); err == nil || !strings.Contains(err.Error(), "exit status 3") || len(err.Error()) > 2*commandOutput {
		t.Errorf("a command that fails: %v", err)
	}
	if err := run("exec sleep 1000", 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "not done") {
		t.Errorf("a command that hangs: %v", err)
	}
	for _, f := range []Fences{{}, {Command: &Command{}}} {
		if err := f.FenceGateway(t.Context(), m); !errors.Is(err, san.ErrRefused) {
			t.Errorf("no command: %v", err)
		}
		if err := f.FenceVolume(t.Context(), m, san.UUID{}); !errors.Is(err, san.ErrRefused) {
			t.Errorf("no driver: %v", err)
		}
	}
}
