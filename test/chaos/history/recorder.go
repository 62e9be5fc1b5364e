package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Header is the first line of a history.
type Header struct {
	Seed    uint64         `json:"seed"`
	Command string         `json:"command"` // that repeats the run
	Blocks  map[string]int `json:"blocks"`  // size of the blocks of each volume, bytes
}

// History is all that is known of a run.
type History struct {
	Header
	Ops    []*Op
	Faults []Fault
}

// Recorder keeps a history while it is made, and writes it to a file. Its
// methods may be called from any goroutine.
type Recorder struct {
	began time.Time
	ids   atomic.Int64

	mu   sync.Mutex // guards what follows
	h    History
	file *os.File
	w    *bufio.Writer
	err  error
	done bool // nothing is kept any more
}

// line is one line of the file.
type line struct {
	Header *Header `json:"header,omitempty"`
	Op     *Op     `json:"op,omitempty"`
	Fault  *Fault  `json:"fault,omitempty"`
}

// NewRecorder begins a history in a new file.
func NewRecorder(path string, h Header) (*Recorder, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	r := &Recorder{began: time.Now(), file: f, w: bufio.NewWriterSize(f, 1<<16)}
	r.h.Header = h
	r.write(line{Header: &h})
	return r, nil
}

// Now is the time of the run.
func (r *Recorder) Now() int64 { return int64(time.Since(r.began)) }

// NextID returns an id for an op.
func (r *Recorder) NextID() int64 { return r.ids.Add(1) }

// Add keeps o, which must not change any more. After Close it does nothing.
func (r *Recorder) Add(o *Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return
	}
	r.h.Ops = append(r.h.Ops, o)
	r.write(line{Op: o})
}

// AddFault keeps f.
func (r *Recorder) AddFault(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return
	}
	r.h.Faults = append(r.h.Faults, f)
	r.write(line{Fault: &f})
}

func (r *Recorder) write(l line) {
	b, err := json.Marshal(l)
	if err == nil {
		_, err = r.w.Write(append(b, '\n'))
	}
	r.err = errors.Join(r.err, err)
}

// Ops returns how many there are.
func (r *Recorder) Ops() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.h.Ops)
}

// Close ends the file and returns the history.
func (r *Recorder) Close() (*History, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	return &r.h, errors.Join(r.err, r.w.Flush(), r.file.Close())
}

// Load reads a history from a file. A last line that was cut off is left out.
func Load(path string) (*History, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var h History
	d := json.NewDecoder(bufio.NewReaderSize(f, 1<<20))
	for {
		var l line
		err := d.Decode(&l)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return &h, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		case l.Header != nil:
			h.Header = *l.Header
		case l.Op != nil:
			h.Ops = append(h.Ops, l.Op)
		case l.Fault != nil:
			h.Faults = append(h.Faults, *l.Fault)
		}
	}
}
