package attach

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sango/internal/attach/kernelnbd"
	"sango/internal/attach/ublk"
	"sango/internal/san"
)

// A driver can be loaded, and then the same command works.
func TestDriverThatIsMissing(t *testing.T) {
	for _, driver := range []error{ublk.ErrNoDriver, kernelnbd.ErrNoDriver} {
		err := withoutDriver(fmt.Errorf("start: %w", driver))
		if !errors.Is(err, san.ErrUnavailable) || !strings.Contains(err.Error(), "modprobe") || !strings.Contains(err.Error(), "--as socket") {
			t.Error(err)
		}
	}
	other := errors.New("no room")
	if err := withoutDriver(other); !errors.Is(err, other) || errors.Is(err, san.ErrUnavailable) {
		t.Error(err)
	}
}

// Without a driver there is no disk that could stand still, so nothing but that
// is to be said. Where there is one, something else is wrong with this volume.
func TestNoWarningsBeforeTheDriver(t *testing.T) {
	for _, as := range []string{AsUblk, AsNBD} {
		if checkDriver(t.Context(), as) == nil {
			continue // this machine has it
		}
		var log bytes.Buffer
		o := &Options{As: as, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		_, err := startFrontend(t.Context(), o, &State{}, nil, false)
		if !errors.Is(err, san.ErrUnavailable) || !strings.Contains(err.Error(), "--as socket") {
			t.Errorf("%s: %v", as, err)
		}
		if log.Len() > 0 {
			t.Errorf("%s: %s", as, log.String())
		}
	}
}
