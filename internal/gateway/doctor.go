package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sango/internal/san"
)

// Finding is what one look of the doctor found.
type Finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, warning or failed
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"` // what to do
}

// The states of a finding.
const (
	FindingOK      = "ok"
	FindingWarning = "warning"
	FindingFailed  = "failed"
)

func fine(check, format string, a ...any) Finding {
	return Finding{Check: check, State: FindingOK, Detail: fmt.Sprintf(format, a...)}
}

// wantFiles is the number of open files that a node should be allowed: each
// session takes one, each volume in use some.
const wantFiles = 8192

// Examine looks for the usual mistakes on this machine, for a node in dir that
// would serve portals (ip:port), and has its volumes in the directory volumes;
// "": where they were. With running, a node serves dir already: what it holds
// itself is not looked at, volumes among it.
func Examine(ctx context.Context, dir, volumes string, portals []string, running bool) []Finding {
	if volumes == "" {
		var err error
		if volumes, err = notedVolumes(dir); err != nil {
			volumes = filepath.Join(dir, volumesName)
		}
	}
	at := directoryFinding("directory", dir)
	out := []Finding{at}
	if apart(dir, volumes) {
		out = append(out, directoryFinding("directory of volumes", volumes),
			spaceFinding("space", dir, metadataAlone), spaceFinding("space of volumes", volumes, volumesAlone),
			filesystemFinding("filesystem", dir), filesystemFinding("filesystem of volumes", volumes))
	} else {
		out = append(out, spaceFinding("space", dir, everything), filesystemFinding("filesystem", dir))
	}
	h, held := Holder(dir)
	switch starts := held && h.Waits != ""; {
	case starts:
		out = append(out, Finding{"node", FindingWarning, fmt.Sprintf("process %s is starting, and waits for %s", h.PID, h.Waits), "start the others; it goes on by itself then"})
	case !running:
		lock := lockFinding(dir)
		out = append(out, lock)
		if at.State == FindingOK && lock.State == FindingOK {
			out = append(out, volumeFindings(ctx, dir)...)
		}
		for _, p := range portals {
			out = append(out, portFinding(ctx, p))
		}
	}
	return append(out, filesFinding(), clockFinding(), futureFinding(dir, volumes))
}

// existing returns dir or the nearest directory above it that is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return dir
		}
		dir = up
	}
}

// apart reports whether volumes are, or would be, on another filesystem than dir.
func apart(dir, volumes string) bool {
	a, aerr := roomOf(existing(dir))
	b, berr := roomOf(existing(volumes))
	return aerr == nil && berr == nil && a.device != b.device
}

func directoryFinding(check, dir string) Finding {
	at := existing(dir)
	f, err := os.CreateTemp(at, ".sango-doctor-")
	if err == nil {
		_, err = f.Write(make([]byte, 4096))
		if serr := f.Sync(); err == nil {
			err = serr
		}
		f.Close()
		os.Remove(f.Name())
	}
	switch {
	case err == nil && at == dir:
		return fine(check, "%s is writable", dir)
	case err == nil:
		return fine(check, "%s is not there yet, and can be made", dir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return Finding{check, FindingFailed, fmt.Sprintf("%s is full: %v", at, err), "free space or raise the quota; volumes take writes again at once"}
	case errors.Is(err, syscall.EROFS):
		return Finding{check, FindingFailed, fmt.Sprintf("%s is on a read-only filesystem", at), "look into the kernel log for disk errors, and mount it read-write"}
	}
	return Finding{check, FindingFailed, fmt.Sprintf("%s is not writable: %v", at, err), "run as its owner, change its permissions, or name another directory with --dir"}
}

func spaceFinding(check, dir string, h holding) Finding {
	r, err := roomOf(existing(dir))
	if err != nil {
		return Finding{check, FindingFailed, err.Error(), "look whether the disk is there and mounted"}
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(existing(dir), &st); err == nil && st.Files > 0 && st.Ffree < 1000 {
		return Finding{check, FindingFailed, fmt.Sprintf("only %d inodes are free", st.Ffree), "remove small files, or use a filesystem with more inodes"}
	}
	if p := h.problem(dir, r); p != "" {
		state, advice := FindingWarning, "free space, delete snapshots ('sango volume delete VOLUME@SNAPSHOT'), or move the directory to a larger disk"
		if r.free < 64<<20 {
			state = FindingFailed
		}
		if h == metadataAlone {
			advice = "free space there, or move the directory to a larger disk"
		}
		return Finding{check, state, p, advice}
	}
	return fine(check, "%s free of %s", san.FormatSize(r.free), san.FormatSize(r.total))
}

// Filesystems that a node should not live on, by their magic number
// (statfs(2)).
var doubtful = map[int64]string{
	0x01021994: "tmpfs keeps nothing over a reboot",
	0x858458f6: "ramfs keeps nothing over a reboot",
	0x6969:     "NFS can lose locks and acknowledge what is not stable",
	0xff534d42: "CIFS has no sparse files and no reliable locks",
	0xfe534d42: "SMB has no sparse files and no reliable locks",
	0x4d44:     "FAT has no sparse files and none above 4G",
}

func filesystemFinding(check, dir string) Finding {
	var st syscall.Statfs_t
	if err := syscall.Statfs(existing(dir), &st); err != nil {
		return Finding{check, FindingFailed, err.Error(), "look whether the disk is there and mounted"}
	}
	if why := doubtful[int64(uint32(st.Type))]; why != "" {
		return Finding{check, FindingWarning, why, "use ext4, xfs or btrfs on a local disk for data that matters"}
	}
	return fine(check, "suitable")
}

func lockFinding(dir string) Finding {
	const check = "lock"
	if _, err := os.Stat(filepath.Join(dir, lockName)); errors.Is(err, fs.ErrNotExist) {
		return fine(check, "nobody uses the directory")
	}
	l, err := TakeLock(dir)
	if err != nil {
		if !errors.Is(err, errInUse) {
			return Finding{check, FindingFailed, err.Error(), ""}
		}
		return Finding{check, FindingFailed, err.Error(), "a process that holds the lock but does not answer hangs: look into its log, and end it with SIGTERM, then SIGKILL"}
	}
	l.Release()
	return fine(check, "nobody uses the directory")
}

func portFinding(ctx context.Context, addr string) Finding {
	check := "portal " + addr
	if err := CheckAddr(addr, true); err != nil {
		return Finding{check, FindingFailed, err.Error(), "correct the address"}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		what, advice := portalProblem(addr, err)
		return Finding{check, FindingFailed, what, advice}
	}
	l.Close()
	return fine(check, "free")
}

func filesFinding() Finding {
	const check = "open files"
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return Finding{check, FindingWarning, err.Error(), ""}
	}
	if r.Max < wantFiles {
		return Finding{check, FindingWarning, fmt.Sprintf("a process may open %d files, which is few for many sessions and volumes", r.Max), fmt.Sprintf("raise the hard limit to %d or more: LimitNOFILE= in the systemd unit, or 'ulimit -Hn'", wantFiles)}
	}
	return fine(check, "up to %d", r.Max)
}

// clockError is what adjtimex(2) returns for a clock that nothing keeps right.
const clockError = 5

func clockFinding() Finding {
	const check = "clock"
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t)
	switch {
	case err != nil:
		return Finding{check, FindingWarning, fmt.Sprintf("whether the clock is kept right can't be told: %v", err), ""}
	case state == clockError:
		return Finding{check, FindingWarning, "nothing keeps the clock right", "run an NTP service such as chrony; times of snapshots and logs depend on it"}
	}
	return fine(check, "kept right")
}

// futureSlack is how far ahead of the clock a file may be.
const futureSlack = 2 * time.Second

// futureFinding tells when files are newer than now: the clock was set back.
func futureFinding(dir, volumes string) Finding {
	const check = "clock jumps"
	limit := time.Now().Add(futureSlack)
	var newest time.Time
	for _, d := range []string{dir, filepath.Join(dir, metaName), filepath.Join(dir, metaName, "etcd", "member", "wal"), volumes} {
		entries, err := os.ReadDir(d)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if i, err := e.Info(); err == nil && i.ModTime().After(newest) {
				newest = i.ModTime()
			}
		}
	}
	if newest.After(limit) {
		return Finding{check, FindingWarning, fmt.Sprintf("files in %s are %v newer than now: the clock was set back", dir, time.Until(newest).Round(time.Second)), "set the clock right, and let an NTP service steer it slowly"}
	}
	return fine(check, "none to be seen")
}
