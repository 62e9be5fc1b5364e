package harness

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"strings"
	"time"
)

// MakeImage writes a file of size bytes whose every third MiB is random, every third repeats a byte, and the rest are
// holes.
func MakeImage(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	const piece = 1 << 20
	for off := int64(0); off+piece <= size; off += piece {
		var r io.Reader
		switch off / piece % 3 {
		case 0:
			r = io.LimitReader(rand.Reader, piece)
		case 1:
			r = bytes.NewReader(bytes.Repeat([]byte{byte(off / piece)}, piece))
		default:
			continue
		}
		if _, err := io.Copy(io.NewOffsetWriter(f, off), r); err != nil {
			return err
		}
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Close()
}

// QemuIO runs commands of qemu-io on the raw image at url. A pattern that is not there is an error.
func QemuIO(ctx context.Context, timeout time.Duration, url string, commands ...string) error {
	args := []string{"-f", "raw", "-n"}
	for _, s := range commands {
		args = append(args, "-c", s)
	}
	out, err := Run(ctx, timeout, "qemu-io", append(args, url)...)
	if err != nil {
		return err
	}
	// qemu-io tells of a pattern that is not there, and ends with 0.
	if strings.Contains(out, "Pattern verification failed") || strings.Contains(out, "failed:") {
		return errors.New(out)
	}
	return nil
}
