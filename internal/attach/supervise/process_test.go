package supervise

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sango/internal/attach"
)

// program makes Programs that run a shell script.
func programs(t *testing.T, script string) *Programs {
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := attach.UseDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &Programs{Dir: dir, Path: path, Log: slog.LevelInfo, Stderr: io.Discard}
}

// What a process says of its failure is kept; of one that is killed the signal
// is all there is.
func TestErrorOfAProcess(t *testing.T) {
	for script, want := range map[string]string{
		"printf 'no volume\nat all' >&$SANGO_ATTACH_ERROR_FD; exit 4": "no volume; at all (exit status 4)",
		"exit 4":                       "exit status 4",
		"kill -9 $$":                   "signal: killed",
		"echo all is well >&3; exit 0": "",
	} {
		p, err := programs(t, script).Start(&Attachment{Name: "a", Source: "mem:1M", As: attach.AsSocket})
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		got := ""
		if err := p.Err(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}

// A process may say as much as is kept.
func TestLongErrorOfAProcess(t *testing.T) {
	p, err := programs(t, "head -c 16384 /dev/zero | tr '\\0' e >&3; exit 1").Start(&Attachment{Name: "a", Source: "mem:1M", As: attach.AsSocket})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := p.Err(); err == nil || strings.Count(err.Error(), "e") < maxError {
		t.Error(err)
	}
}
