package attach

import (
	"errors"
	"fmt"
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
		if !errors.Is(err, san.ErrUnavailable) || !strings.Contains(err.Error(), "modprobe") {
			t.Error(err)
		}
	}
	other := errors.New("no room")
	if err := withoutDriver(other); !errors.Is(err, other) || errors.Is(err, san.ErrUnavailable) {
		t.Error(err)
	}
}
