package attach

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"sango/internal/san"
)

// noDevice is State.Device without a kernel disk.
const noDevice = -1

// State is what must outlive the process of an attachment.
type State struct {
	Name   string `json:"name"`
	Source string `json:"source"` // without secrets
	As     string `json:"as"`
	// Group and Run name the sessions (san.Instance). Run is raised before a
	// process sends anything.
	Group uint64 `json:"group,string"`
	Run   uint64 `json:"run,string"`
	// Device is N of the kernel disk, or -1, in the boot Boot.
	Device      int    `json:"device"`
	Connections int    `json:"connections,omitempty"` // of an NBD disk
	Boot        string `json:"boot"`
	Socket      string `json:"socket,omitempty"` // of an NBD server
	Size        int64  `json:"size,omitempty"`   // as it was last
	BlockSize   int    `json:"block_size,omitempty"`
	// Volume is the serial number of the volume: another one must not get the
	// requests that wait in the disk.
	Volume string `json:"volume,omitempty"`
}

// load returns the state of an attachment; ok is false where there is none.
func (d Dir) load(name string) (s State, ok bool, err error) {
	path := d.file(name, stateExt)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, false, nil
	} else if err != nil {
		return State{}, false, fmt.Errorf("state of attachment %s: %w", name, err)
	}
	if err := json.Unmarshal(b, &s); err != nil || s.Group == 0 || s.Name != name {
		// It can't be told which sessions must be fenced: a guess could lose data.
		return State{}, false, san.Errorf(san.ErrRefused, "%s can't be read (%v): restore it; or, when nothing of the attachment is left, remove it", path, err)
	}
	return s, true, nil
}

// save puts s in the place of the state that was there, on stable storage.
func (d Dir) save(s *State) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = replaceFile(d.file(s.Name, stateExt), append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("state of attachment %s: %w", s.Name, err)
	}
	return nil
}

// forget removes the state of an attachment of which nothing is left.
func (d Dir) forget(name string) error {
	err := os.Remove(d.file(name, stateExt))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("state of attachment %s: %w", name, err)
}

// newGroup returns a random group of instances.
func newGroup() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if g := binary.BigEndian.Uint64(b[:]); g != 0 {
			return g
		}
	}
}

// bootID names the run of the kernel: disks of another one are gone.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("the kernel's boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
