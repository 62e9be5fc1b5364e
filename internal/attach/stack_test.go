package attach

import (
	"errors"
	"fmt"
	"testing"

	"sango/internal/iscsi"
	"sango/internal/multipath"
	"sango/internal/san"
	"sango/internal/scsi"
)

// Exit statuses and what a program does about an error depend on its kind.
func TestKindOfRefusedLogin(t *testing.T) {
	for _, c := range []struct{ err, want error }{
		{fmt.Errorf("portal: %w", &iscsi.LoginError{Status: iscsi.LoginNotFound}), san.ErrNotFound},
		{&iscsi.LoginError{Status: iscsi.LoginAuthFailed}, san.ErrRefused},
		{&iscsi.LoginError{Status: iscsi.LoginForbidden}, san.ErrRefused},
		{fmt.Errorf("portal: %w", iscsi.ErrAuth), san.ErrRefused},
		{errors.Join(multipath.ErrNoLUN, multipath.ErrHopeless), san.ErrNotFound},
		{multipath.ErrHopeless, san.ErrRefused},
	} {
		if got := kindOf(c.err); !errors.Is(got, c.want) {
			t.Errorf("%v is %v", c.err, got)
		}
	}
	other := errors.New("no answer")
	if got := kindOf(other); !errors.Is(got, other) {
		t.Errorf("%v is %v", other, got)
	}
}

func TestKindOfRefusedCommand(t *testing.T) {
	for key, want := range map[scsi.SenseKey]error{scsi.IllegalRequest: san.ErrRefused, scsi.HardwareError: san.ErrUnavailable} {
		if got := answerOf(&scsi.CheckCondition{Sense: scsi.Sense{Key: key}}); !errors.Is(got, want) {
			t.Errorf("%v is %v", key, got)
		}
	}
	other := errors.New("no answer")
	if got := answerOf(other); !errors.Is(got, other) {
		t.Error(got)
	}
	if err := answerOf(nil); err != nil {
		t.Error(err)
	}
}

func TestMemoryThatIsTooLarge(t *testing.T) {
	o := quiet(testDir(t), "mem:100T").with(&disk{id: 7}, nil)
	if err := Run(t.Context(), o, func(Info) { t.Error("it serves") }); !errors.Is(err, san.ErrInvalid) {
		t.Error(err)
	}
}
