package meta

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"sango/internal/san"
)

// A backup does not go back under a gateway that lives, whatever it is told; a
// heartbeat of one that is gone keeps nobody from it.
func TestNoRestoreUnderGateways(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	volume(t, s, "v")
	var file bytes.Buffer
	if err := s.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	beat := func(name string, n uint64) {
		r := Record{RecordKey: RecordKey{Kind: RecordBeat, Name: name}, Value: &Beat{Incarnation: 1, Count: n}}
		if _, _, err := s.Change(context.Background(), nil, []Record{r}); err != nil {
			t.Error(err)
		}
	}
	beat("gone", 1)
	restore := func() error {
		info, err := ReadBackup(bytes.NewReader(file.Bytes()), func(string, []byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.restore(t.Context(), info, san.UUID{}, bytes.NewReader(file.Bytes()), true)
		return err
	}
	stop := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := uint64(1); ; n++ {
			beat("gw2", n)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	for { // until there is a heartbeat
		now, err := s.beats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if now["gw2"] != 0 {
			break
		}
	}
	err := restore()
	close(stop)
	beating.Wait()
	if !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "gateway gw2 is alive") {
		t.Errorf("under a gateway: %v", err)
	}
	update(t, s, func(tx *Tx) error {
		_, err := tx.VolumeNamed("v")
		return err
	})
	if err := restore(); err != nil {
		t.Errorf("when it is gone: %v", err)
	}
}
