package target

import (
	"os/exec"
	"strings"
	"testing"
)

// tool runs one of libiscsi's programs.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian: libiscsi-bin)", name)
	}
	out, err := exec.CommandContext(longTime(t), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// libiscsi's own programs discover the target and talk to its unit.
func TestLibiscsiTools(t *testing.T) {
	s := start(t)
	out := tool(t, "iscsi-ls", "--initiator-name", hostName, "iscsi://"+s.addr)
	for _, want := range []string{targetName, s.addr + ",1"} {
		if !strings.Contains(out, want) {
			t.Errorf("iscsi-ls does not show %q:\n%s", want, out)
		}
	}
	out = tool(t, "iscsi-inq", "--initiator-name", hostName, "iscsi://"+s.addr+"/"+targetName+"/0")
	if !strings.Contains(out, "SANGO") {
		t.Errorf("iscsi-inq does not show the vendor:\n%s", out)
	}
}
