package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"sango/internal/san"
)

// maxNote bounds what is read of a lock file, in bytes.
const maxNote = 4 << 10

// Note writes into the lock file what the start of the node waits for; empty: for
// nothing any more. Where it can't, nobody learns it.
func (l *Lock) Note(what string) {
	text := fmt.Appendf(nil, "%d\n%s\n", os.Getpid(), what)
	if _, err := l.f.WriteAt(text, 0); err == nil {
		_ = l.f.Truncate(int64(len(text))) // what is behind the second line is not read
	}
}

// Held is who has the lock of a node's directory.
type Held struct {
	PID   string
	Waits string // what its start waits for; empty: that is not known
}

// Holder tells who has the lock of dir. It does not touch the lock, since a node
// may start at this moment. ok: somebody has it.
func Holder(dir string) (h Held, ok bool) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return h, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil {
		return h, false
	}
	pid, rest, _ := strings.Cut(string(b), "\n")
	h.Waits, _, _ = strings.Cut(rest, "\n")
	h.PID = strings.TrimSpace(pid)
	var st syscall.Stat_t
	if syscall.Fstat(int(f.Fd()), &st) != nil {
		return h, false
	}
	return h, locked(h.PID, st.Ino)
}

// locked reports whether a process has the lock of a file (proc_locks(5)).
func locked(pid string, inode uint64) bool {
	b, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false
	}
	end := fmt.Sprintf(":%d", inode)
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if w := strings.Fields(s.Text()); len(w) >= 6 && w[1] == "FLOCK" && w[4] == pid && strings.HasSuffix(w[5], end) {
			return true
		}
	}
	return false
}

// Unanswered says why nobody answers in a directory that a process has, nil
// where nobody has it.
func Unanswered(dir string) error {
	switch h, ok := Holder(dir); {
	case !ok:
		return nil
	case h.Waits != "":
		return san.Errorf(san.ErrUnavailable, "the node in %s (process %s) is starting, and waits for %s", dir, h.PID, h.Waits)
	default:
		return san.Errorf(san.ErrUnavailable, "process %s uses %s and does not answer: it starts or ends, or is a command that needs the directory alone; try again, and look into its log if that does not help", h.PID, dir)
	}
}
