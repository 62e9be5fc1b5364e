package target

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sango/internal/san"
)

// tool runs a program that is an independent initiator.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed (Debian: libiscsi-bin, qemu-utils with qemu-block-extra)", name)
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
	out := tool(t, "iscsi-ls", "--initiator-name", hostName, "--show-luns", "iscsi://"+s.addr)
	for _, want := range []string{targetName, s.addr + ",1", "Lun:0"} {
		if !strings.Contains(out, want) {
			t.Errorf("iscsi-ls does not show %q:\n%s", want, out)
		}
	}
	out = tool(t, "iscsi-inq", "--initiator-name", hostName, "iscsi://"+s.addr+"/"+targetName+"/0")
	if !strings.Contains(out, "SANGO") {
		t.Errorf("iscsi-inq does not show the vendor:\n%s", out)
	}
}

// libiscsi authenticates itself and the target.
func TestLibiscsiCHAP(t *testing.T) {
	s := start(t, func(_ *Config, d *directory) {
		d.accounts = []san.CHAP{{User: "host", Secret: "host's secret", MutualUser: "disks", MutualSecret: "target's secret"}}
	})
	url := "iscsi://host%host's secret@" + s.addr + "/" + targetName + "/0"
	for _, u := range []string{url, url + "?target_user=disks&target_password=target's secret"} {
		if out := tool(t, "iscsi-inq", "--initiator-name", hostName, u); !strings.Contains(out, "SANGO") {
			t.Errorf("%s: %s", u, out)
		}
	}
	for _, u := range []string{
		strings.Replace(url, "host's", "another", 1),
		url + "?target_user=disks&target_password=another secret",
	} {
		if out, err := exec.CommandContext(longTime(t), "iscsi-inq", "--initiator-name", hostName, u).CombinedOutput(); err == nil {
			t.Errorf("%s: logged in:\n%s", u, out)
		}
	}
}

// qemu-img writes an image through the target and reads the same back.
func TestQemuImg(t *testing.T) {
	s := start(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	want := pattern(64 << 20)
	if err := os.WriteFile(in, want, 0o600); err != nil {
		t.Fatal(err)
	}
	url := `json:{"driver":"raw","file":{"driver":"iscsi","transport":"tcp","portal":"` + s.addr + `","target":"` + targetName +
		`","lun":0,"initiator-name":"` + hostName + `","header-digest":"crc32c"}}`
	tool(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", in, url)
	tool(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", url, out)
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("what qemu-img reads is not what it wrote")
	}
}
