package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sango/internal/san"
)

// What is sent in pieces and put into a sink is what was read, whether the
// sink can have holes or not.
func TestPiecesAndSinkAgree(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		var want []byte
		for range rapid.IntRange(0, 6).Draw(t, "parts") {
			n := rapid.SampledFrom([]int{1, 511, piece - 1, piece, piece + 1, 3 * piece, 1<<20 + 7}).Draw(t, "length")
			want = append(want, bytes.Repeat([]byte{byte(rapid.SampledFrom([]int{0, 7}).Draw(t, "fill"))}, n)...)
		}
		size := int64(len(want))
		var stream bytes.Buffer
		pipe := &sink{w: &stream}
		path := filepath.Join(dir, "file")
		file, err := openSink(path, size, false)
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		err = sendPieces(bytes.NewReader(want), size, func(off int64, b []byte) error {
			return errors.Join(pipe.put(off, b), file.put(off, b))
		}, func(int64, int64) {})
		if err = errors.Join(err, pipe.gap(size), file.gap(size), file.close(true)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) || !bytes.Equal(stream.Bytes(), want) {
			t.Fatalf("file %v, stream %v, %v", bytes.Equal(got, want), bytes.Equal(stream.Bytes(), want), err)
		}
	})
}

func TestInputPastTheVolumeIsRefused(t *testing.T) {
	err := sendPieces(strings.NewReader("12345"), 4, func(int64, []byte) error { return nil }, func(int64, int64) {})
	if !errors.Is(err, san.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestFailedExportLeavesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	s, err := openSink(path, 4096, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.close(false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}
