package cli

import (
	"errors"
	"io"
	"os"

	"sango/internal/san"
)

// sink takes data in ascending order and fills the gaps with zeros: by leaving
// holes in a new file, by writing them elsewhere.
type sink struct {
	w      io.Writer
	f      *os.File // nil: w is all there is
	sparse bool
	made   bool  // the file is ours to remove
	at     int64 // bytes so far
}

// openSink opens path for size bytes of data. Without force it must not exist.
func openSink(path string, size int64, force bool) (*sink, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		if err := f.Truncate(size); err != nil {
			f.Close()
			os.Remove(path)
			return nil, err
		}
		return &sink{w: f, f: f, sparse: true, made: true}, nil
	}
	if !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if !force {
		return nil, san.Errorf(san.ErrRefused, "%s exists; name another file, or overwrite it with --force", path)
	}
	if f, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
		return nil, err
	}
	s := &sink{w: f, f: f}
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		if err := errors.Join(f.Truncate(0), f.Truncate(size)); err != nil {
			f.Close()
			return nil, err
		}
		s.sparse = true
	}
	return s, nil
}

// gap goes on to offset to with zeros.
func (s *sink) gap(to int64) error {
	if s.sparse {
		_, err := s.f.Seek(to, io.SeekStart)
		s.at = to
		return err
	}
	for s.at < to {
		n, err := s.w.Write(zeros[:min(to-s.at, int64(len(zeros)))])
		s.at += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// put writes b at off.
func (s *sink) put(off int64, b []byte) error {
	if err := s.gap(off); err != nil {
		return err
	}
	n, err := s.w.Write(b)
	s.at += int64(n)
	return err
}

// close makes the file stable if all of it is there, and removes a new one
// otherwise.
func (s *sink) close(complete bool) error {
	if complete {
		if err := s.f.Sync(); err != nil {
			s.f.Close()
			return err
		}
		return s.f.Close()
	}
	s.f.Close()
	if s.made {
		os.Remove(s.f.Name())
	}
	return nil
}
