package relay

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing that a node started outlives it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
